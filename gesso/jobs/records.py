"""Jobs as the database knows them. Each function acts in the transaction it is given.

A job is `queued`, `running`, and at last `done`, `failed` or `cancelled`, which never changes again. Until then it has
an owner, the server that works on it, and a lease that this server renews as long as it lives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gesso.accounts.keys import Caller
from gesso.errors import Conflict
from gesso.jobs.order import Order
from gesso.storage.tables import jobs, pictures

LEASE: Final = timedelta(seconds=30)
LONGEST_STORING: Final = timedelta(hours=1)

End = Literal["done", "failed", "cancelled"]
ALIVE: Final = ("queued", "running")

# What every request does is built once: building a statement takes longer than executing it.
_IS_ALIVE: Final = jobs.c.status.in_(ALIVE)
_LIVING: Final = update(jobs).where(jobs.c.id == bindparam("job"), _IS_ALIVE).values(updated=bindparam("now"))
_BEGIN: Final = _LIVING.values(status="running", attempt=jobs.c.attempt + 1)
_END: Final = _LIVING.values(status=bindparam("end"), problem=bindparam("why"))


@dataclass(frozen=True, slots=True)
class LivingJob:
    """A job that has not ended."""

    id: str
    owner: str
    lease_until: datetime

    @property
    def lease_has_ended(self) -> bool:
        """Whether its owner has been silent for so long that it counts as gone."""
        return self.lease_until < datetime.now(UTC)


def open_job(connection: Connection, caller: Caller, order: Order, owner: str, tokens: Sequence[str]) -> None:
    """Write the job down, and the names that its pictures will have. Raises Conflict where its id is taken."""
    now = datetime.now(UTC)
    job = {
        "id": order.id,
        "account_id": caller.account_id,
        "key_id": caller.key_id,
        "slug": order.slug,
        "request": dict(order.request),
        "cost_micro": order.cost_micro,
        "status": "queued",
        "attempt": 0,
        "owner": owner,
        "lease_until": now + LEASE,
        "created": now,
        "updated": now,
    }
    try:
        connection.execute(insert(jobs), job)
    except IntegrityError:
        raise Conflict(f"There is a job {order.id} already.") from None
    connection.execute(insert(pictures), [_picture(order, image, token) for image, token in enumerate(tokens)])


def begin_job(connection: Connection, job_id: str) -> None:
    """The job is being painted: another attempt at it has begun."""
    connection.execute(_BEGIN, {"job": job_id, "now": datetime.now(UTC)})


def end_job(connection: Connection, job_id: str, status: End, problem: str | None = None) -> bool:
    """Whether this was the job's end: False where it had one before, or there is no such job."""
    ended = connection.execute(_END, {"job": job_id, "end": status, "why": problem, "now": datetime.now(UTC)})
    return ended.rowcount == 1


def undelivered_pictures(connection: Connection, owner: str) -> list[str]:
    """Tokens of pictures whose jobs ended without delivering them, and that nobody else can still be storing."""
    settled = or_(jobs.c.owner == owner, jobs.c.updated < datetime.now(UTC) - LONGEST_STORING)
    query = select(pictures.c.token).join_from(pictures, jobs)
    return list(connection.scalars(query.where(jobs.c.status.in_(("failed", "cancelled")), settled)))


def forget_pictures(connection: Connection, tokens: Sequence[str]) -> None:
    """There are no such pictures any more."""
    connection.execute(delete(pictures).where(pictures.c.token.in_(tokens)))


def adopt_jobs(connection: Connection, owner: str, gone: Sequence[str]) -> None:
    """What the servers in `gone` were working on is this owner's now."""
    connection.execute(update(jobs).where(jobs.c.owner.in_(gone), _IS_ALIVE).values(owner=owner))


def renew_leases(connection: Connection, owner: str) -> None:
    """The owner of these jobs is alive."""
    connection.execute(
        update(jobs).where(jobs.c.owner == owner, _IS_ALIVE).values(lease_until=datetime.now(UTC) + LEASE)
    )


def living_jobs(connection: Connection) -> list[LivingJob]:
    """Jobs, of any server, that have not ended."""
    rows = connection.execute(select(jobs.c.id, jobs.c.owner, jobs.c.lease_until).where(_IS_ALIVE))
    return [LivingJob(*row) for row in rows]


def _picture(order: Order, image: int, token: str) -> dict[str, object]:
    size = {"width": order.paint.width, "height": order.paint.height}
    return {"token": token, "job_id": order.id, "image": image, "seed": order.paint.seeds[image]} | size
