"""What happens to a request: price -> reserve -> enqueue -> await -> store -> capture or release.

The price stands in the order; from the reservation to the end `workshop.py` does the work, in a task of its own for
each job. Here is who waits for which, what was asked before, and what servers that are gone left behind.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog

from gesso.accounts.keys import Caller
from gesso.engine.messages import Pixels
from gesso.errors import Cancelled, Conflict, DeadlineExceeded, NotFound, ServiceUnavailable
from gesso.imaging.png import decode_png, encode_png
from gesso.jobs.audience import Audience
from gesso.jobs.books import Books, Resumed
from gesso.jobs.delivery import Delivery
from gesso.jobs.order import Order
from gesso.jobs.ports import Engine
from gesso.jobs.queue import Queue
from gesso.jobs.records import LEASE, SavedJob, Tokens
from gesso.jobs.retries import AskedAlready, Retry
from gesso.jobs.workshop import Note, Workshop, before, completed
from gesso.storage.database import Database
from gesso.storage.objects import PictureFolder
from gesso.storage.presence import Presence

log = structlog.get_logger()

OrderAgain = Callable[[SavedJob, Caller, Pixels | None], Order]
"""Of a job, whoever asked for it, and its start image where it has one."""

LOOK: Final = 0.25
"""Seconds between two looks at what another server is working on."""
SWEEP: Final = 3600
"""Seconds between two looks for what has been kept long enough."""


@dataclass(frozen=True, slots=True)
class Named:
    """A job of this server whose request may come again."""

    job_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How long pictures and jobs are kept after their end; None: for ever. A job's end is its pictures' too."""

    pictures: timedelta | None = None
    jobs: timedelta | None = None


FOR_EVER: Final = Retention()


def _never(job: SavedJob, _: Caller, __: Pixels | None) -> Order:
    """Nobody can."""
    raise ServiceUnavailable(f"The server stopped while it worked on {job.id}.")


def _unnoted(_: Order, __: Delivery) -> None:
    """Nobody keeps count."""


class Service:
    """Jobs of this server, each in the database from before its work until after its end.

    `order_again` makes the order that a job was, which another server had begun; such a job may take `longest` seconds.
    `note` is told of every delivery.
    """

    def __init__(
        self,
        database: Database,
        pictures: PictureFolder,
        engine: Engine,
        queue: Queue,
        presence: Presence,
        order_again: OrderAgain = _never,
        note: Note = _unnoted,
        retention: Retention = FOR_EVER,
        longest: float = 300,
    ) -> None:
        self._books = Books(database, pictures, presence)
        self._workshop = Workshop(self._books, pictures, engine, queue, note)
        self._pictures = pictures
        self._presence = presence
        self._order_again = order_again
        self._retention = retention
        self._longest = longest
        self._jobs: dict[str, Audience] = {}
        self._named: dict[tuple[int, str], Named] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._judges_from = -math.inf

    async def start(self) -> None:
        """Resume or release what servers that are gone left behind, and go on watching for that."""
        self._presence.enter()
        await self._recover()
        self._keeper = asyncio.create_task(self._keep_books())

    async def stop(self) -> None:
        """Cancel what still runs, and release it or leave it to the next server; returns when that is written."""
        self._workshop.is_closing = True
        if self._keeper:  # first, so that it does not take what this server leaves for left behind
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        audiences = [*self._jobs.values()]
        for audience in audiences:
            audience.stop()
        if audiences:
            await asyncio.wait([audience.job for audience in audiences])
        self._presence.leave()

    async def balance(self, caller: Caller) -> int:
        """What the account has now, in micro-credits."""
        return await self._books.balance(caller)

    async def paint(self, caller: Caller, order: Order, deadline: float, retry: Retry | None = None) -> Delivery:
        """Paint, store and charge. `deadline` is a time of the event loop's clock.

        Cancelling this call cancels the job, which is not charged then, unless somebody else waits for it. `retry`:
        what the request is known by when it comes again; where it came before, this is the answer that it got.

        Raises:
            QueueFull, InsufficientCredits, Conflict: at once.
            NotFound: the pictures of an equal request are not kept any more.
            DeadlineExceeded: the deadline passed; the work was stopped and is not charged.
            BadRequest, ServiceUnavailable, PaintingFailed: as the engine says.
        """
        if order.id in self._jobs:
            raise Conflict(f"There is a job {order.id} already.")
        if retry is None:
            return await self._heard(self._begin(caller, order.id, None, self._run(caller, order, deadline, None)))
        while True:
            earlier = await self.delivered_before(caller, retry, deadline)
            if earlier is not None:
                return earlier
            if (caller.account_id, retry.name) in self._named:
                continue
            with suppress(AskedAlready):  # of another server, a moment ago
                work = self._run(caller, order, deadline, retry)
                return await self._heard(self._begin(caller, order.id, retry, work))

    async def delivered_before(self, caller: Caller, retry: Retry, deadline: float) -> Delivery | None:
        """What the same request got when it came before, which may still be worked on; None where it did not come, or
        failed. Raises Conflict where this name was given to another request, NotFound where nothing is kept of it."""
        async with before(deadline, "The same request is still being worked on; send it again to hear of its end."):
            while True:
                named = self._named.get((caller.account_id, retry.name))
                if named is not None:
                    retry.check(named.digest)
                    # Another server has the job, or nobody waited for it any more, or not for as long as this one does.
                    with suppress(AskedAlready, Cancelled, DeadlineExceeded):
                        return await self._heard(self._jobs[named.job_id])
                    await asyncio.sleep(0)
                    continue
                asked = await self._books.asked(caller.account_id, retry)
                if asked is None:
                    return None
                if asked.is_done:
                    return await self._books.delivery(asked.job_id)
                await asyncio.sleep(LOOK)  # another server works on it

    async def _heard(self, audience: Audience) -> Delivery:
        """What the job delivers."""
        try:
            return await audience.listen()
        except Cancelled:
            if self._workshop.is_closing:
                raise ServiceUnavailable("The server is stopping; send the request again.", 10) from None
            raise

    def _begin(self, caller: Caller, job_id: str, retry: Retry | None, work: Coroutine[Any, Any, Delivery]) -> Audience:
        """In a task of its own."""
        job = asyncio.create_task(work)
        audience = self._jobs[job_id] = Audience(job)
        name = (caller.account_id, retry.name) if retry else None
        named = Named(job_id, retry.digest) if retry else None
        if name and named:
            self._named[name] = named

        def end(job: asyncio.Task[Delivery]) -> None:
            del self._jobs[job_id]
            if name and self._named.get(name) == named:  # it may stand for a later job already
                del self._named[name]
            if not job.cancelled():
                job.exception()  # nobody may have listened

        job.add_done_callback(end)
        return audience

    async def _run(self, caller: Caller, order: Order, deadline: float, retry: Retry | None) -> Delivery:
        async def reserve() -> Tokens:
            tokens = await self._books.reserve(caller, order, retry)
            if tokens.start and order.paint.start:
                await self._pictures.put(
                    tokens.start, await asyncio.to_thread(encode_png, order.paint.start.pixels, "")
                )
            return tokens

        return await self._workshop.perform(caller, order, deadline, reserve, resumes=retry is not None)

    async def _resume(self, resumed: Resumed) -> Delivery:
        """What another server had begun: the same request, seed and names of pictures, already paid for."""
        job = resumed.job

        async def reserved() -> Tokens:
            return job.tokens

        try:
            for token in job.tokens.pictures:
                await self._pictures.clean(token)
            start = await self._start_image(job.tokens.start) if job.tokens.start else None
            order = await asyncio.to_thread(self._order_again, job, resumed.caller, start)
        except BaseException as error:
            await completed(self._workshop.release(job.id, error, resumes=True))
            raise
        deadline = _now() + self._longest
        return await self._workshop.perform(resumed.caller, order, deadline, reserved, resumes=True, was_taken=True)

    async def _start_image(self, token: str) -> Pixels:
        try:
            return decode_png(await self._pictures.read(token))
        except NotFound:
            raise ServiceUnavailable("The server stopped before the start image was kept.") from None

    async def _recover(self) -> None:
        await self._workshop.write_ends()
        recovered = await self._books.recover(self._jobs, judges=_now() >= self._judges_from)
        for one in recovered.resumed:
            self._begin(one.caller, one.job.id, one.retry, self._resume(one))
        if recovered.released or recovered.resumed:
            counts = {"released": recovered.released, "resumed": len(recovered.resumed)}
            log.warning("took over jobs that nobody worked on", **counts)
        await self._workshop.discard()

    async def _keep_books(self) -> None:
        """Stay known as alive, look after those who are not, and delete what has been kept long enough."""
        swept = -math.inf
        while True:
            try:
                await self._books.renew()
                await completed(self._recover())
                if _now() > swept + SWEEP:
                    await self._sweep()
                    swept = _now()
            except ServiceUnavailable as error:
                log.warning("the books cannot be kept; trying again", reason=error.sentence)
                # Others could not renew their leases either, and are given the time to.
                self._judges_from = _now() + LEASE.total_seconds()
            except Exception:
                log.exception("the books could not be kept; trying again")
            await asyncio.sleep(LEASE.total_seconds() / 6)

    async def _sweep(self) -> None:
        deleted = await self._books.sweep(self._retention.pictures, self._retention.jobs)
        if deleted:
            log.info("deleted pictures that had been kept long enough", pictures=deleted)


def _now() -> float:
    return asyncio.get_running_loop().time()
