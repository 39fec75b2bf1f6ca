"""Jobs as the database knows them. Each function acts in the transaction it is given.

A job is `queued`, `running`, and at last `done`, `failed` or `cancelled`, which never changes again. Until then it has
an owner, the server that works on it, and a lease that this server renews as long as it lives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gesso.accounts.keys import Caller
from gesso.errors import Conflict
from gesso.jobs.delivery import Course
from gesso.jobs.order import Order
from gesso.storage.tables import jobs, pictures

LEASE: Final = timedelta(seconds=30)
LONGEST_STORING: Final = timedelta(hours=1)
MOST_ATTEMPTS: Final = 3
NOBODY: Final = ""
"""The owner of a job that waits for one."""
START_IMAGE: Final = -1
"""The number, among a job's pictures, of the image that it started from."""

End = Literal["failed", "cancelled"]
ALIVE: Final = ("queued", "running")

# What every request does is built once: building a statement takes longer than executing it.
_IS_ALIVE: Final = jobs.c.status.in_(ALIVE)
_ENDED: Final = jobs.c.status.in_(("done", "failed", "cancelled"))
_MINE: Final = (jobs.c.id == bindparam("job"), jobs.c.owner == bindparam("mine"), _IS_ALIVE)
_LIVING: Final = update(jobs).where(*_MINE).values(updated=bindparam("now"))
_BEGIN: Final = _LIVING.values(status="running", attempt=jobs.c.attempt + 1)
_END: Final = _LIVING.values(status=bindparam("end"), problem=bindparam("why"))
_IS_MINE: Final = select(jobs.c.id).where(*_MINE)
_DELIVER: Final = _LIVING.values(status="done", delivery=bindparam("course"))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the files of a job are called: its pictures', in seed order, and its start image's, where it may be needed
    again."""

    pictures: tuple[str, ...]
    start: str | None = None


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture by its token, which is its file's name."""

    token: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class DeliveredJob:
    """What a job that is done delivered, in seed order."""

    cost_micro: int
    course: Course
    pictures: tuple[StoredPicture, ...]


@dataclass(frozen=True, slots=True)
class SavedJob:
    """All that it takes to do a job again: who asked, by their key, for what, and under which names it is stored."""

    id: str
    key_id: int
    slug: str
    request: Mapping[str, Any]
    cost_micro: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class LivingJob:
    """A job that has not ended."""

    id: str
    owner: str
    lease_until: datetime
    resumes: bool
    attempt: int

    @property
    def may_be_tried_again(self) -> bool:
        """Whether it is worked on again when its server is gone; not for ever, as it may be what ends servers."""
        return self.resumes and self.attempt < MOST_ATTEMPTS

    @property
    def lease_has_ended(self) -> bool:
        """Whether its owner has been silent for so long that it counts as gone."""
        return self.lease_until < datetime.now(UTC)


def open_job(
    connection: Connection, caller: Caller, order: Order, owner: str, tokens: Tokens, *, resumes: bool
) -> None:
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
        "resumes": resumes,
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
    connection.execute(insert(pictures), [_picture(order, image, token) for image, token in enumerate(tokens.pictures)])
    if tokens.start is not None:
        connection.execute(insert(pictures), _picture(order, START_IMAGE, tokens.start))


def begin_job(connection: Connection, job_id: str, owner: str) -> None:
    """This owner's job is being painted: another attempt at it has begun."""
    connection.execute(_BEGIN, {"job": job_id, "mine": owner, "now": datetime.now(UTC)})


def end_job(connection: Connection, job_id: str, owner: str, status: End, problem: str) -> bool:
    """Whether this was the job's end: False where it had one before, is another owner's, or is not there."""
    values = {"job": job_id, "mine": owner, "end": status, "why": problem, "now": datetime.now(UTC)}
    return connection.execute(_END, values).rowcount == 1


def may_deliver(connection: Connection, job_id: str, owner: str) -> bool:
    """Whether the job is this owner's and has not ended."""
    return connection.execute(_IS_MINE, {"job": job_id, "mine": owner}).first() is not None


def deliver_job(connection: Connection, job_id: str, owner: str, course: Course) -> None:
    """The job's end, by all of its pictures."""
    values = {"job": job_id, "mine": owner, "course": course.to_json(), "now": datetime.now(UTC)}
    connection.execute(_DELIVER, values)


def delivered_job(connection: Connection, job_id: str) -> DeliveredJob | None:
    """None where the job is not there, or did not end by delivering."""
    query = select(jobs.c.cost_micro, jobs.c.delivery).where(jobs.c.id == job_id, jobs.c.status == "done")
    job = connection.execute(query).one_or_none()
    if job is None:
        return None
    mine = pictures.c.job_id == job_id, pictures.c.image != START_IMAGE
    shown = select(pictures).where(*mine).order_by(pictures.c.image)
    rows = tuple(StoredPicture(one.token, one.seed, one.width, one.height) for one in connection.execute(shown))
    return DeliveredJob(job.cost_micro, Course.from_json(job.delivery), rows)


def kept_too_long(connection: Connection, before: datetime, most: int) -> list[str]:
    """Tokens of pictures whose jobs ended before that moment."""
    query = select(pictures.c.token).join_from(pictures, jobs).where(_ENDED, jobs.c.updated < before)
    return list(connection.scalars(query.limit(most)))


def forget_jobs(connection: Connection, before: datetime) -> None:
    """Jobs that ended before that moment and whose pictures are forgotten; what they cost stays in the ledger."""
    has_pictures = select(pictures.c.job_id)
    connection.execute(delete(jobs).where(_ENDED, jobs.c.updated < before, jobs.c.id.not_in(has_pictures)))


def undelivered_pictures(connection: Connection, owner: str, job_id: str | None = None) -> list[str]:
    """Tokens of pictures whose jobs ended without delivering them, and that nobody else can still be storing.

    So of this owner's jobs, and of one that it worked on until another took it over.
    """
    long_ago = datetime.now(UTC) - LONGEST_STORING
    settled = or_(jobs.c.owner == owner, jobs.c.id == job_id, jobs.c.updated < long_ago)
    query = select(pictures.c.token).join_from(pictures, jobs)
    return list(connection.scalars(query.where(jobs.c.status.in_(("failed", "cancelled")), settled)))


def useless_start_images(connection: Connection) -> list[str]:
    """Tokens of those whose jobs are done."""
    query = select(pictures.c.token).join_from(pictures, jobs)
    return list(connection.scalars(query.where(pictures.c.image == START_IMAGE, jobs.c.status == "done")))


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
    columns = jobs.c.id, jobs.c.owner, jobs.c.lease_until, jobs.c.resumes, jobs.c.attempt
    return [LivingJob(*row) for row in connection.execute(select(*columns).where(_IS_ALIVE))]


def take_over(connection: Connection, job_id: str, owner: str) -> None:
    """The job is this owner's from here on."""
    mine = {"owner": owner, "lease_until": datetime.now(UTC) + LEASE}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(mine))


def saved_job(connection: Connection, job_id: str) -> SavedJob:
    """What was written down of a job."""
    job = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
    files = select(pictures.c.image, pictures.c.token).where(pictures.c.job_id == job_id)
    by_image = dict(map(tuple, connection.execute(files.order_by(pictures.c.image))))
    start = by_image.pop(START_IMAGE, None)
    return SavedJob(job_id, job.key_id, job.slug, job.request, job.cost_micro, Tokens(tuple(by_image.values()), start))


def put_back(connection: Connection, job_id: str, owner: str) -> None:
    """Nobody works on this owner's job any more; whoever finds it may."""
    mine = jobs.c.id == job_id, jobs.c.owner == owner, _IS_ALIVE
    connection.execute(update(jobs).where(*mine).values(owner=NOBODY, status="queued"))


def _picture(order: Order, image: int, token: str) -> dict[str, object]:
    size = {"width": order.paint.width, "height": order.paint.height}
    seed = 0 if image == START_IMAGE else order.paint.seeds[image]
    return {"token": token, "job_id": order.id, "image": image, "seed": seed} | size
