"""The books: a job, its money and its pictures' names, which change together or not at all.

Each method is safe to repeat, and of no effect on a job that has ended.
"""

from collections.abc import Collection

from sqlalchemy import Connection

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

        def reserve(connection: Connection) -> None:
            records.open_job(connection, caller, order, self._presence.name, tokens)
            ledger.reserve(connection, caller.account_id, order.id, order.cost_micro)

        await self._database.write(reserve)
        return tokens

    async def begin(self, job_id: str) -> None:
        """The engine takes the job up."""
        await self._database.write(lambda connection: records.begin_job(connection, job_id))

    async def capture(self, caller: Caller, order: Order) -> int | None:
        """Charge for the job, all of whose pictures are stored; returns what the account has left.

        None where the job has ended before, as another server took this one for gone: then nothing is charged.
        """

        def capture(connection: Connection) -> int | None:
            if not records.end_job(connection, order.id, "done"):
                return None
            ledger.capture(connection, order.id, order.cost_micro)
            return ledger.balance(connection, caller.account_id)

        return await self._database.write(capture)

    async def release(self, job_id: str, end: records.End, problem: str) -> None:
        """The job is over without its pictures: nothing of it is charged."""
        await self._database.write(lambda connection: _release(connection, job_id, end, problem))

    async def discard(self) -> None:
        """Delete the pictures of jobs that were released. Raises ServiceUnavailable: then some still wait for it."""
        name = self._presence.name
        tokens = await self._database.read(lambda connection: records.undelivered_pictures(connection, name))
        for token in tokens:
            await self._pictures.delete(token)
        if tokens:
            await self._database.write(lambda connection: records.forget_pictures(connection, tokens))

    async def renew(self) -> None:
        """This server is alive, and so are its jobs."""
        await self._database.write(lambda connection: records.renew_leases(connection, self._presence.name))

    async def recover(self, running: Collection[str]) -> int:
        """Fail and release the jobs that nobody works on; returns how many.

        This server works on those in `running`, which is looked into meanwhile: it has a job before its row is written.
        """
        gone = self._presence.gone()

        def recover(connection: Connection) -> int:
            records.adopt_jobs(connection, self._presence.name, gone)
            lost = [job.id for job in records.living_jobs(connection) if self._is_lost(job, running)]
            for job_id in lost:
                _release(connection, job_id, "failed", "The server stopped while it worked on this.")
            return len(lost)

        lost = await self._database.write(recover)
        for name in gone:
            self._presence.forget(name)
        return lost

    def _is_lost(self, job: records.LivingJob, running: Collection[str]) -> bool:
        return job.id not in running if job.owner == self._presence.name else job.lease_has_ended


def _release(connection: Connection, job_id: str, end: records.End, problem: str) -> None:
    if records.end_job(connection, job_id, end, problem):
        ledger.release(connection, job_id)
