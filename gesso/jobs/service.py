"""What happens to a request: price -> reserve -> enqueue -> await -> store -> capture or release.

The price stands in the order. Each job runs in a task of its own, so that whatever happens to whoever asked, its end is
written: charged for what was delivered, or released.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from gesso.accounts.keys import Caller
from gesso.engine.messages import Finished, Painted, Pixels, Timings
from gesso.errors import Conflict, DeadlineExceeded, GessoError, PaintingFailed, ServiceUnavailable
from gesso.imaging.png import encode_png
from gesso.jobs.books import Books
from gesso.jobs.delivery import Delivery, Phases, Picture
from gesso.jobs.infotext import infotext
from gesso.jobs.order import Order
from gesso.jobs.ports import Engine
from gesso.jobs.queue import Queue, Ticket
from gesso.jobs.records import LEASE
from gesso.storage.database import Database
from gesso.storage.objects import PictureFolder
from gesso.storage.presence import Presence

log = structlog.get_logger()

T = TypeVar("T")


Note = Callable[[Order, Delivery], None]


def _unnoted(_: Order, __: Delivery) -> None:
    """Nobody keeps count."""


class Service:
    """Jobs of this server, each in the database from before its work until after its end. `note` is told of every
    delivery.
    """

    def __init__(
        self,
        database: Database,
        pictures: PictureFolder,
        engine: Engine,
        queue: Queue,
        presence: Presence,
        note: Note = _unnoted,
    ) -> None:
        self._books = Books(database, pictures, presence)
        self._pictures = pictures
        self._engine = engine
        self._queue = queue
        self._presence = presence
        self._note = note
        self._jobs: dict[str, asyncio.Task[Delivery]] = {}
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fail and release what servers that are gone left behind, and go on watching for that."""
        self._presence.enter()
        await self._recover()
        self._keeper = asyncio.create_task(self._keep_books())

    async def stop(self) -> None:
        """Cancel and release what still runs; returns when that is written."""
        tasks = [*self._jobs.values(), *([self._keeper] if self._keeper else [])]
        for task in tasks:
            _cancel_once(task)
        if tasks:
            await asyncio.wait(tasks)
        self._presence.leave()

    async def paint(self, caller: Caller, order: Order, deadline: float) -> Delivery:
        """Paint, store and charge. `deadline` is a time of the event loop's clock.

        Cancelling this call cancels the job, which is not charged then.

        Raises:
            QueueFull, InsufficientCredits: at once.
            DeadlineExceeded: the deadline passed; the work was stopped and is not charged.
            BadRequest, ServiceUnavailable, PaintingFailed: as the engine says.
        """
        if order.id in self._jobs:
            raise Conflict(f"There is a job {order.id} already.")
        job = self._jobs[order.id] = asyncio.create_task(self._run(caller, order, deadline))
        job.add_done_callback(lambda _: self._jobs.pop(order.id))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            if job.cancelled() and not _is_being_cancelled():
                raise ServiceUnavailable("The server is stopping; this request is not charged.", 10) from None
            _cancel_once(job)
            await asyncio.wait([job])
            raise

    async def _run(self, caller: Caller, order: Order, deadline: float) -> Delivery:
        with self._queue.ticket(caller.account_id, len(order.paint.seeds)) as ticket:
            try:
                async with _before(deadline):
                    tokens = await _completed(self._books.reserve(caller, order))
                    images, waited, end = await self._await(order, ticket)
                    painted_at = _now()
                    pictures = await _completed(self._store(order, tokens, images))
                    phases = _phases(waited, end.timings, _now() - painted_at)
                remaining = await _completed(self._capture(caller, order))
            except BaseException as error:
                await _completed(self._release(order, error))
                raise
        company = end.timings.company
        delivery = Delivery(order.id, pictures, order.cost_micro, remaining, end.seconds, phases, company)
        self._note(order, delivery)
        return delivery

    async def _await(self, order: Order, ticket: Ticket) -> tuple[list[Pixels], float, Finished]:
        """The images of the order, by number, the seconds that it waited before the engine, and what that says of it.

        A cancellation arrives within the engine's own iterator, which is told by it.
        """
        waiting_since = _now()
        images: dict[int, Pixels] = {}
        end = None
        async with ticket.turn():
            waited = _now() - waiting_since
            await _completed(self._books.begin(order.id))
            async for event in self._engine.paint(order.paint):
                match event:
                    case Painted():
                        images[event.image] = event.pixels
                    case Finished():
                        end = event
        if end is None or len(images) != len(order.paint.seeds):
            raise PaintingFailed(f"The engine painted {len(images)} of {len(order.paint.seeds)} images.")
        return [images[image] for image in sorted(images)], waited, end

    async def _store(self, order: Order, tokens: Sequence[str], images: Sequence[Pixels]) -> tuple[Picture, ...]:
        seeds, paint = order.paint.seeds, order.paint
        texts = [infotext(order, seed) for seed in seeds]
        pngs = await asyncio.gather(*(asyncio.to_thread(encode_png, *one) for one in zip(images, texts, strict=True)))
        for token, png in zip(tokens, pngs, strict=True):
            await self._pictures.put(token, png)
        together = zip(tokens, seeds, pngs, strict=True)
        return tuple(Picture(token, seed, paint.width, paint.height, png) for token, seed, png in together)

    async def _capture(self, caller: Caller, order: Order) -> int:
        remaining = await self._books.capture(caller, order)
        if remaining is None:
            raise ServiceUnavailable("The server was away for too long while it worked on this; it is not charged.")
        return remaining

    async def _release(self, order: Order, error: BaseException) -> None:
        match error:
            case asyncio.CancelledError():
                await self._books.release(order.id, "cancelled", "The caller went away, or the server was stopped.")
            case GessoError():
                await self._books.release(order.id, "failed", error.sentence)
            case _:
                await self._books.release(order.id, "failed", f"Unforeseen: {type(error).__name__}")
        await self._discard()

    async def _recover(self) -> None:
        lost = await self._books.recover(self._jobs)
        if lost:
            log.warning("released jobs that nobody worked on", jobs=lost)
        await self._discard()

    async def _discard(self) -> None:
        try:
            await self._books.discard()
        except ServiceUnavailable as error:
            log.warning("pictures that nobody paid for cannot be deleted yet", reason=error.sentence)

    async def _keep_books(self) -> None:
        """Stay known as alive, and look after those who are not."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 6)
            try:
                await self._books.renew()
                await self._recover()
            except Exception:
                log.exception("the leases of jobs could not be renewed; trying again")


def _phases(waited: float, timings: Timings, write: float) -> Phases:
    return Phases(waited + timings.queue, timings.encode, timings.denoise, timings.decode, write)


@asynccontextmanager
async def _before(deadline: float) -> AsyncIterator[None]:
    """Raises DeadlineExceeded in place of what is cancelled when the deadline passes."""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded("The request was not done before its deadline; it was stopped, not charged.") from None


async def _completed(work: Coroutine[Any, Any, T]) -> T:
    """Does all of the work even when cancelled meanwhile, and is cancelled after it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _cancel_once(task: asyncio.Task[Any]) -> None:
    """A second cancellation would disturb what the first one has set going."""
    if not task.cancelling():
        task.cancel()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _now() -> float:
    return asyncio.get_running_loop().time()
