"""The books: a job, its money and its pictures' names, which change together or not at all.

None has any effect on a job that has ended, or that another server has taken over.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection

from gesso.accounts import ledger
from gesso.accounts.keys import Caller, caller_by
from gesso.errors import NotFound
from gesso.jobs import records, retries
from gesso.jobs.delivery import Course, Delivery, Picture
from gesso.jobs.order import Order
from gesso.jobs.records import SavedJob, Tokens
from gesso.jobs.retries import Asked, Retry
from gesso.storage.database import Database
from gesso.storage.objects import PictureFolder, new_token
from gesso.storage.presence import Presence

AT_ONCE: Final = 500
"""Pictures that are deleted before that is written down."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A job that a server left behind and that is to be done again; whoever asked, and what they call it."""

    job: SavedJob
    caller: Caller
    retry: Retry | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the jobs that servers left behind: those to be done again, and how many were released."""

    resumed: tuple[Resumed, ...]
    released: int


class Books:
    """The jobs of the server that `presence` stands for, and a look at those that other servers left behind."""

    def __init__(self, database: Database, pictures: PictureFolder, presence: Presence) -> None:
        self._database = database
        self._pictures = pictures
        self._presence = presence

    async def reserve(self, caller: Caller, order: Order, retry: Retry | None) -> Tokens:
        """Write the job down and set its cost aside; returns the tokens that its pictures will have.

        A request that has a name is one whose caller comes again: if this server ends, the next one resumes it, and
        needs its start image.

        Raises InsufficientCredits, Conflict where there is a job of this id, and AskedAlready.
        """
        resumes = retry is not None
        start = new_token() if resumes and order.paint.start else None
        tokens = Tokens(tuple(new_token() for _ in order.paint.seeds), start)

        def reserve(connection: Connection) -> None:
            if retry is not None:
                retries.claim(connection, caller.account_id, retry, order.id)
            records.open_job(connection, caller, order, self._presence.name, tokens, resumes=resumes)
            ledger.reserve(connection, caller.account_id, order.id, order.cost_micro)

        await self._database.write(reserve)
        return tokens

    async def balance(self, caller: Caller) -> int:
        """What the account has left, in micro-credits."""
        return await self._database.read(lambda connection: ledger.balance(connection, caller.account_id))

    async def begin(self, job_id: str) -> None:
        """The engine takes the job up."""
        await self._database.write(lambda connection: records.begin_job(connection, job_id, self._presence.name))

    async def capture(self, caller: Caller, order: Order, course: Course) -> Course | None:
        """Charge for the job, all of whose pictures are stored; returns its course with what the account has left.

        Where it was delivered before, by a call that was not told so or another server, that is its course.
        None where another server took this one for gone: then this one's work is not charged.
        """

        def capture(connection: Connection) -> Course | None:
            if not records.may_deliver(connection, order.id, self._presence.name):
                before = records.delivered_job(connection, order.id)
                return before.course if before else None
            ledger.capture(connection, order.id, order.cost_micro)
            told = replace(course, remaining_micro=ledger.balance(connection, caller.account_id))
            records.deliver_job(connection, order.id, self._presence.name, told)
            return told

        return await self._database.write(capture)

    async def asked(self, account_id: int, retry: Retry) -> Asked | None:
        """The job of the same request, where that came before. Raises Conflict."""
        return await self._database.read(lambda connection: retries.asked(connection, account_id, retry))

    async def delivery(self, job_id: str) -> Delivery:
        """What a job that is done delivered. Raises NotFound where its pictures are kept no longer."""
        job = await self._database.read(lambda connection: records.delivered_job(connection, job_id))
        if job is None or not job.pictures:
            raise NotFound("The pictures of this request are not kept any more.")
        files = [await self._pictures.read(one.token) for one in job.pictures]
        together = zip(job.pictures, files, strict=True)
        shown = tuple(Picture(one.token, one.seed, one.width, one.height, png) for one, png in together)
        return Delivery(job_id, shown, job.cost_micro, job.course)

    async def release(self, job_id: str, end: records.End, problem: str) -> None:
        """The job is over without its pictures: nothing of it is charged."""
        name = self._presence.name
        await self._database.write(lambda connection: _release(connection, job_id, name, end, problem))

    async def discard(self, job_id: str | None = None) -> None:
        """Delete the pictures of jobs that were released: of this server's, and of the one that it worked on last.

        Raises ServiceUnavailable: then some still wait for it.
        """
        find = partial(records.undelivered_pictures, owner=self._presence.name, job_id=job_id)
        tokens = await self._database.read(find)
        if tokens:
            await self.forget(tokens)

    async def sweep(self, pictures: timedelta | None, jobs: timedelta | None) -> int:
        """Delete what has been kept longer than that; returns how many pictures. None: it is kept for ever.

        Start images go as their jobs are done; but for those that a killed server left, which go here.
        """
        now, deleted = datetime.now(UTC), 0
        if tokens := await self._database.read(records.useless_start_images):
            await self.forget(tokens)
        if (limit := min((one for one in (pictures, jobs) if one is not None), default=None)) is not None:
            while tokens := await self._database.read(partial(records.kept_too_long, before=now - limit, most=AT_ONCE)):
                await self.forget(tokens)
                deleted += len(tokens)
        if jobs is not None:
            await self._database.write(partial(records.forget_jobs, before=now - jobs))
        await self._database.write(retries.forget_names)
        return deleted

    async def renew(self) -> None:
        """This server is alive, and so are its jobs."""
        await self._database.write(lambda connection: records.renew_leases(connection, self._presence.name))

    async def put_back(self, job_id: str) -> None:
        """This server ends before the job does; the next one resumes it."""
        await self._database.write(lambda connection: records.put_back(connection, job_id, self._presence.name))

    async def recover(self, running: Collection[str], *, judges: bool = True) -> Recovered:
        """Take over the jobs that nobody works on: those that can be resumed, and the others fail and are released.

        This server works on those in `running`, which is looked into meanwhile: it has a job before its row is written.
        `judges`: whether another server whose lease has ended is taken for gone.
        """
        gone = self._presence.gone()

        def recover(connection: Connection) -> Recovered:
            records.adopt_jobs(connection, self._presence.name, gone)
            lost = [job for job in records.living_jobs(connection) if self._is_lost(job, running, judges)]
            resumed = [self._resumed(connection, job.id) for job in lost if job.may_be_tried_again]
            for job in lost:
                if not job.may_be_tried_again:  # it stays its owner's, who may be storing pictures still
                    _release(connection, job.id, job.owner, "failed", "The server stopped while it worked on this.")
            return Recovered(tuple(resumed), len(lost) - len(resumed))

        recovered = await self._database.write(recover)
        for name in gone:
            self._presence.forget(name)
        return recovered

    def _resumed(self, connection: Connection, job_id: str) -> Resumed:
        records.take_over(connection, job_id, self._presence.name)
        job = records.saved_job(connection, job_id)
        return Resumed(job, caller_by(connection, job.key_id), retries.named(connection, job_id))

    async def forget(self, tokens: Sequence[str]) -> None:
        """Delete these pictures."""
        for token in tokens:
            await self._pictures.delete(token)
        await self._database.write(lambda connection: records.forget_pictures(connection, tokens))

    def _is_lost(self, job: records.LivingJob, running: Collection[str], judges: bool) -> bool:
        if job.owner == self._presence.name:
            return job.id not in running
        return job.owner == records.NOBODY or (judges and job.lease_has_ended)


def _release(connection: Connection, job_id: str, owner: str, end: records.End, problem: str) -> None:
    if records.end_job(connection, job_id, owner, end, problem):
        ledger.release(connection, job_id)
