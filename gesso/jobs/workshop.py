"""How a job is done: its turn, the engine, the pictures' files, and its end: charged, released or left to another.

The end is written whatever happens to whoever asked.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from gesso.accounts.keys import Caller
from gesso.engine.messages import Finished, Painted, Pixels, Timings
from gesso.errors import DeadlineExceeded, GessoError, PaintingFailed, ServiceUnavailable
from gesso.imaging.png import encode_png
from gesso.jobs.books import Books
from gesso.jobs.delivery import Course, Delivery, Phases, Picture
from gesso.jobs.infotext import infotext
from gesso.jobs.order import Order
from gesso.jobs.ports import Engine
from gesso.jobs.queue import Queue, Ticket
from gesso.jobs.records import End, Tokens
from gesso.storage.objects import PictureFolder

log = structlog.get_logger()

T = TypeVar("T")

Note = Callable[[Order, Delivery], None]

STOPPED: Final = "The request was not done before its deadline; it was stopped, not charged."
PAUSE: Final = 0.25
"""Seconds between two tries of a database that is away."""
OUTAGE: Final = 20
"""Seconds that a painted picture waits for the database."""


class Workshop:
    """Does jobs, each written down in the `books`; `note` is told of every delivery.

    `is_closing`: what is cancelled from here on and can be resumed is left to the next server.
    """

    def __init__(self, books: Books, pictures: PictureFolder, engine: Engine, queue: Queue, note: Note) -> None:
        self._books = books
        self._pictures = pictures
        self._engine = engine
        self._queue = queue
        self._note = note
        self._unwritten: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self.is_closing = False

    async def perform(
        self,
        caller: Caller,
        order: Order,
        deadline: float,
        reserve: Callable[[], Coroutine[Any, Any, Tokens]],
        *,
        resumes: bool,
        was_taken: bool = False,
    ) -> Delivery:
        """Paint, store and charge. `reserve` sets the cost aside and says what the pictures' files are called;
        `resumes`: another server could do it again; `was_taken`: it had a place in a queue before."""
        places = len(order.paint.seeds)
        with self._queue.ticket(caller.account_id, places, caller.allowance, was_taken=was_taken) as ticket:
            try:
                async with before(deadline):
                    tokens = await completed(reserve())
                    images, waited, end = await self._await(order, ticket)
                    painted_at = _now()
                    pictures = await completed(self._store(order, tokens.pictures, images))
                    phases = _phases(waited, end.timings, _now() - painted_at)
                course = Course(0, end.seconds, phases, end.timings.company)
                course = await _undisturbed(self._settle(caller, order, course, tokens))
            except BaseException as error:
                await completed(self.release(order.id, error, resumes=resumes))
                raise
        delivery = Delivery(order.id, pictures, order.cost_micro, course)
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
            await completed(self._books.begin(order.id))
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

    async def _settle(self, caller: Caller, order: Order, course: Course, tokens: Tokens) -> Course:
        """The job's end."""
        told = await self._capture(caller, order, course)
        if tokens.start:
            with suppress(ServiceUnavailable):  # it goes with the next sweep
                await self._books.forget([tokens.start])
        return told

    async def _capture(self, caller: Caller, order: Order, course: Course) -> Course:
        """A database that is away for a moment does not cost anybody a picture that is painted."""
        give_up = _now() + OUTAGE
        while True:
            try:
                told = await self._books.capture(caller, order, course)
            except ServiceUnavailable:
                if _now() > give_up:
                    raise
                await asyncio.sleep(PAUSE)
                continue
            if told is None:
                raise ServiceUnavailable("The server was away for too long while it worked on this; send it again.")
            return told

    async def release(self, job_id: str, error: BaseException, *, resumes: bool) -> None:
        """The job is over without its pictures, because of this error.

        Where that cannot be written it is remembered, so that the job is not taken for one that was left behind.
        """
        if resumes and self.is_closing and isinstance(error, asyncio.CancelledError):
            end = partial(self._books.put_back, job_id)
        else:
            end = partial(self._books.release, job_id, *_why(error))
        try:
            await end()
        except Exception as outage:
            self._unwritten[job_id] = end
            log.warning("the end of a job cannot be written yet", job=job_id, reason=str(outage))
        else:
            await self.discard(job_id)

    async def write_ends(self) -> None:
        """Those that could not be written. Raises ServiceUnavailable: then some still cannot."""
        for job_id, end in list(self._unwritten.items()):
            await end()
            del self._unwritten[job_id]

    async def discard(self, job_id: str | None = None) -> None:
        """Delete the files of jobs that did not deliver them."""
        try:
            await self._books.discard(job_id)
        except ServiceUnavailable as error:
            log.warning("pictures that nobody paid for cannot be deleted yet", reason=error.sentence)


def _why(error: BaseException) -> tuple[End, str]:
    """How a job ends that this became of, and what is noted of it."""
    match error:
        case asyncio.CancelledError():
            return "cancelled", "The caller went away, or the server was stopped."
        case GessoError():
            return "failed", error.sentence
        case _:
            return "failed", f"Unforeseen: {type(error).__name__}"


def _phases(waited: float, timings: Timings, write: float) -> Phases:
    return Phases(waited + timings.queue, timings.encode, timings.denoise, timings.decode, write)


@asynccontextmanager
async def before(deadline: float, otherwise: str = STOPPED) -> AsyncIterator[None]:
    """Raises DeadlineExceeded, saying `otherwise`, in place of what is cancelled when the deadline passes."""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded(otherwise) from None


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """Does all of the work even when cancelled meanwhile, and is cancelled after it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


async def _undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, whoever would have it cancelled: what is charged is delivered."""
    task, mine = asyncio.ensure_future(work), asyncio.current_task()
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() or mine is None:
                raise
            mine.uncancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
