"""The books: a job, its money and its pictures' names, which change together or not at all.

Each method is safe to repeat, and of no effect on a job that has ended.
"""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from gesso.accounts import ledger
from gesso.accounts.keys import Caller
from gesso.jobs import records
from gesso.jobs.order import Order
from gesso.storage.database import Database
from gesso.storage.objects import PictureFolder, new_token
from gesso.storage.presence import Presence


class Books:
    """The jobs of the server that `presence` stands for, and a look at those that other servers left behind."""

    def __init__(self, database: Database, pictures: PictureFolder, presence: Presence) -> None:
        self._database = database
        self._pictures = pictures
        self._presence = presence

    async def reserve(self, caller: Caller, order: Order) -> list[str]:
        """Write the job down and set its cost aside; returns the tokens that its pictures will have.

        Raises InsufficientCredits, and Conflict where there is a job of this id.
        """
        tokens = [new_token() for _ in order.paint.seeds]
        async with self._database.writing() as connection:
            await records.open_job(connection, caller, order, self._presence.name, tokens)
            await ledger.reserve(connection, caller.account_id, order.id, order.cost_micro)
        return tokens

    async def begin(self, job_id: str) -> None:
        """The engine takes the job up."""
        async with self._database.writing() as connection:
            await records.begin_job(connection, job_id)

    async def capture(self, caller: Caller, order: Order) -> int | None:
        """Charge for the job, all of whose pictures are stored; returns what the account has left.

        None where the job has ended before, as another server took this one for gone: then nothing is charged.
        """
        async with self._database.writing() as connection:
            if not await records.end_job(connection, order.id, "done"):
                return None
            await ledger.capture(connection, order.id, order.cost_micro)
            return await ledger.balance(connection, caller.account_id)

    async def release(self, job_id: str, end: records.End, problem: str) -> None:
        """The job is over without its pictures: nothing of it is charged."""
        async with self._database.writing() as connection:
            await _release(connection, job_id, end, problem)

    async def discard(self) -> None:
        """Delete the pictures of jobs that were released. Raises ServiceUnavailable: then some still wait for it."""
        async with self._database.reading() as connection:
            tokens = await records.undelivered_pictures(connection, self._presence.name)
        for token in tokens:
            await self._pictures.delete(token)
        if tokens:
            async with self._database.writing() as connection:
                await records.forget_pictures(connection, tokens)

    async def renew(self) -> None:
        """This server is alive, and so are its jobs."""
        async with self._database.writing() as connection:
            await records.renew_leases(connection, self._presence.name)

    async def recover(self, running: Collection[str]) -> int:
        """Fail and release the jobs that nobody works on; returns how many. This server works on those in `running`."""
        gone = self._presence.gone()
        async with self._database.writing() as connection:
            await records.adopt_jobs(connection, self._presence.name, gone)
            lost = [job.id for job in await records.living_jobs(connection) if self._is_lost(job, running)]
            for job_id in lost:
                await _release(connection, job_id, "failed", "The server stopped while it worked on this.")
        for name in gone:
            self._presence.forget(name)
        return len(lost)

    def _is_lost(self, job: records.LivingJob, running: Collection[str]) -> bool:
        return job.id not in running if job.owner == self._presence.name else job.lease_has_ended


async def _release(connection: AsyncConnection, job_id: str, end: records.End, problem: str) -> None:
    if await records.end_job(connection, job_id, end, problem):
        await ledger.release(connection, job_id)
