"""Waiting for the engine: bounded in all and per account, fair between accounts.

The engine makes its own batches of whatever it holds; so as many images as are good for it are let in, and the other
requests wait here, where accounts take turns and a request can be taken back at no cost. An account is let in again
only while it holds less of the engine's room than is free, so that one that sends without end does not stand between
the engine and another's request (dynamic thresholds, as Choudhury and Hahne gave them for shared buffers, 1998).
"""

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from gesso.errors import QueueFull

IMAGES_IN_ENGINE: Final = 64
LONGEST_RETRY_AFTER: Final = 60


class Ticket:
    """A place in the queue, kept from before a request waits until after its end."""

    def __init__(self, queue: "Queue", account_id: int, images: int) -> None:
        self._queue = queue
        self.account_id = account_id
        self.images = images
        self.called = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for room in the engine and keeps it for the block."""
        await self._queue.enter(self)
        began = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._queue.leave(self, asyncio.get_running_loop().time() - began)


class Queue:
    """Holds `total` requests at most, `per_account` of one account; lets `room` images at once into the engine."""

    def __init__(self, per_account: int, total: int, room: int = IMAGES_IN_ENGINE) -> None:
        self._per_account = per_account
        self._total = total
        self._room = room
        self._free = room
        self._requests: Counter[int] = Counter()
        self._held: Counter[int] = Counter()
        self._waiting: OrderedDict[int, deque[Ticket]] = OrderedDict()
        self._seconds = 1.0

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    @contextmanager
    def ticket(self, account_id: int, images: int) -> Iterator[Ticket]:
        """A place for a request of so many images. Raises QueueFull."""
        self._refuse_excess(account_id)
        self._requests[account_id] += 1
        try:
            yield Ticket(self, account_id, images)
        finally:
            self._requests[account_id] -= 1
            self._requests += Counter()  # drops those at zero

    async def enter(self, ticket: Ticket) -> None:
        """Returns when it is this ticket's turn."""
        self._waiting.setdefault(ticket.account_id, deque()).append(ticket)
        self._call()
        try:
            await ticket.called.wait()
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise

    def leave(self, ticket: Ticket, seconds: float) -> None:
        """This ticket's turn is over, after so many seconds."""
        self._seconds += (seconds - self._seconds) / 8
        self._give_back(ticket)
        self._call()

    def _call(self) -> None:
        """Call the first of each account in turn, as long as there is room.

        One that does not fit keeps the others waiting: else small requests could pass it for ever. But those of an
        account that holds its part already wait by themselves.
        """
        while (account_id := self._next()) is not None:
            ticket = self._waiting[account_id][0]
            if ticket.images > self._free and self._free < self._room:
                return
            self._let_in(ticket)

    def _next(self) -> int | None:
        """The account whose turn it is, of those that hold nothing yet or less than is free."""
        within = (one for one in self._waiting if not self._held[one] or self._held[one] < self._free)
        return next(within, None)

    def _let_in(self, ticket: Ticket) -> None:
        line = self._waiting.pop(ticket.account_id)
        line.popleft()
        if line:
            self._waiting[ticket.account_id] = line  # behind all others
        self._free -= ticket.images
        self._held[ticket.account_id] += ticket.images
        ticket.called.set()

    def _give_back(self, ticket: Ticket) -> None:
        self._free += ticket.images
        self._held[ticket.account_id] -= ticket.images
        self._held += Counter()  # drops those at zero

    def _withdraw(self, ticket: Ticket) -> None:
        if ticket.called.is_set():
            self._give_back(ticket)
        else:
            line = self._waiting[ticket.account_id]
            line.remove(ticket)
            if not line:
                del self._waiting[ticket.account_id]
        self._call()

    def _refuse_excess(self, account_id: int) -> None:
        if self._requests[account_id] >= self._per_account:
            whose, limit = "This account", self._per_account
        elif self._requests.total() >= self._total:
            whose, limit = "The server", self._total
        else:
            return
        retry_after = self._retry_after()
        raise QueueFull(
            f"{whose} has {limit} requests waiting or running, and no more are taken; try again in {retry_after} s.",
            retry_after,
        )

    def _retry_after(self) -> int:
        """When one more place should be free: as long as a request takes, for each roomful that waits before it."""
        waiting = sum(ticket.images for line in self._waiting.values() for ticket in line)
        return min(math.ceil(self._seconds * (1 + waiting / self._room)), LONGEST_RETRY_AFTER)
