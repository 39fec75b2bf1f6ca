"""A server's jobs without its HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Row, func, select

from gesso.accounts import ledger
from gesso.accounts.keys import Caller
from gesso.accounts.statement import discrepancies
from gesso.engine.fake import FakeEngine
from gesso.engine.messages import Event, Paint
from gesso.jobs.queue import Queue
from gesso.jobs.service import FOR_EVER, Note, OrderAgain, Retention, Service
from gesso.storage.database import Database
from gesso.storage.objects import PictureFolder
from gesso.storage.presence import Presence
from gesso.storage.tables import jobs, ledger_entries, pictures
from tests.jobs.orders import an_order

CREDIT = 1_000_000


class SlowEngine(FakeEngine):
    """A fake engine that says how many requests it works on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.running: set[str] = set()
        self.begun = 0

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        self.running.add(request.id)
        self.begun += 1
        try:
            async for event in super().paint(request):
                yield event
        finally:
            self.running.remove(request.id)


@dataclass
class House:
    """A server's parts around one service, and what can be seen of it from outside."""

    folder: Path
    database: Database
    pictures: PictureFolder
    caller: Caller
    presence: Presence

    def service(
        self,
        engine: FakeEngine,
        queue: Queue | None = None,
        note: Note = lambda _, __: None,
        retention: Retention = FOR_EVER,
        again: OrderAgain | None = None,
    ) -> Service:
        queue = queue or Queue(per_account=64, total=1024)
        again = again or (lambda job, _, __: an_order(job.id, samples=len(job.tokens.pictures)))
        return Service(self.database, self.pictures, engine, queue, self.presence, again, note, retention)

    async def balance(self) -> int:
        def balance(connection: Connection) -> int:
            assert discrepancies(connection) == []
            return ledger.balance(connection, self.caller.account_id)

        return await self.database.read(balance)

    async def job(self, job_id: str) -> Row[tuple[object, ...]]:
        query = select(jobs).where(jobs.c.id == job_id)
        return await self.database.read(lambda connection: connection.execute(query).one())

    async def count(self, job_id: str, kind: str) -> int:
        entries = select(func.count()).where(ledger_entries.c.job_id == job_id, ledger_entries.c.kind == kind)
        return await self.database.read(lambda connection: connection.execute(entries).scalar_one())

    def files(self) -> list[Path]:
        return [path for path in (self.folder / "pictures").rglob("*") if path.is_file()]

    async def nothing_is_left_of(self, job_id: str, status: str) -> None:
        """Neither a reservation, a charge nor a picture."""
        assert (await self.job(job_id)).status == status
        assert await self.balance() == 10 * CREDIT
        assert await self.count(job_id, "capture") == 0
        assert self.files() == []
        assert await self.database.read(lambda connection: connection.scalars(select(pictures.c.token)).all()) == []


def soon(seconds: float = 60) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)
