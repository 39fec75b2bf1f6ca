"""Requests that may come twice: a caller names one (its `Idempotency-Key`), and the same one is done once.

The name stands for the job that was begun for it. While that is worked on, whoever asks again waits for it too; when it
is done, they get what it delivered. A job that failed, and was not charged, leaves its name to the next.
Each function acts in the transaction it is given.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from gesso.errors import Conflict
from gesso.jobs.records import ALIVE
from gesso.storage.tables import idempotency_keys, jobs

KEPT: Final = timedelta(days=1)
"""How long a name stands for its request."""


class AskedAlready(Conflict):
    """There is a job for the same request, which is worked on or done."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What makes a request the same as one before: the name that its caller gave it, and a digest of what it says."""

    name: str
    digest: str

    def check(self, digest: str) -> None:
        """Raises Conflict where the one before said something else."""
        if digest != self.digest:
            raise Conflict("This Idempotency-Key was sent with another request before; a new request needs a new one.")


@dataclass(frozen=True, slots=True)
class Asked:
    """The job of a request that came before, alive or done."""

    job_id: str
    is_done: bool


def asked(connection: Connection, account_id: int, retry: Retry) -> Asked | None:
    """Raises Conflict where the account gave this name to another request."""
    columns = idempotency_keys.c.digest, idempotency_keys.c.job_id, jobs.c.status
    query = select(*columns).outerjoin_from(idempotency_keys, jobs, jobs.c.id == idempotency_keys.c.job_id)
    row = connection.execute(query.where(*_named(account_id, retry))).one_or_none()
    if row is None:
        return None
    retry.check(row.digest)
    return Asked(row.job_id, row.status == "done") if row.status in (*ALIVE, "done") else None


def claim(connection: Connection, account_id: int, retry: Retry, job_id: str) -> None:
    """The name stands for this job from here on. Raises Conflict, and AskedAlready where it stands for one already."""
    if asked(connection, account_id, retry) is not None:
        raise AskedAlready("The same request was sent before.")
    values = {"digest": retry.digest, "job_id": job_id, "created": datetime.now(UTC)}
    changed = connection.execute(update(idempotency_keys).where(*_named(account_id, retry)).values(values))
    if changed.rowcount == 0:
        named = {"account_id": account_id, "name": retry.name}
        connection.execute(insert(idempotency_keys).values(named | values))


def named(connection: Connection, job_id: str) -> Retry | None:
    """The request that a job was begun for, if its name still stands for it."""
    columns = idempotency_keys.c.name, idempotency_keys.c.digest
    row = connection.execute(select(*columns).where(idempotency_keys.c.job_id == job_id)).one_or_none()
    return None if row is None else Retry(row.name, row.digest)


def forget_names(connection: Connection) -> None:
    """Those that have been kept long enough."""
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created < datetime.now(UTC) - KEPT))


def _named(account_id: int, retry: Retry) -> tuple[ColumnElement[bool], ...]:
    return idempotency_keys.c.account_id == account_id, idempotency_keys.c.name == retry.name
