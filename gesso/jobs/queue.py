"""Waiting for the engine: bounded in all and per account, fair between accounts.

The engine makes its own batches of whatever it holds; so as many images as are good for it are let in, and the other
requests wait here, where accounts take turns and a request can be taken back at no cost. An account is let in again
only while it holds less of the engine's room than is free, so that one that sends without end does not stand between
the engine and another's request (dynamic thresholds, as Choudhury and Hahne gave them for shared buffers, 1998).

How many requests of an account are taken, and how many of them are in the engine at once, is what its allowance says.
One with a share of three has three turns for another's one, and may hold three times what is free.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from gesso.accounts.accounts import ALL, Allowance
from gesso.errors import QueueFull

IMAGES_IN_ENGINE: Final = 64
LONGEST_RETRY_AFTER: Final = 60


@dataclass(eq=False, slots=True)
class _Account:
    """An account with requests here: `requests` that wait or run, `running` of them with `held` images in the engine,
    the others in `line`. `turns`: those it has had since it came first. The `allowance` is what was said last.
    """

    id: int
    allowance: Allowance
    requests: int = 0
    running: int = 0
    held: int = 0
    turns: int = 0
    line: "deque[Ticket]" = field(default_factory=deque)

    def may_enter(self, free: int) -> bool:
        """Whether it holds nothing yet, or less than its allowance and what is free let it."""
        if self.allowance.running is not None and self.running >= self.allowance.running:
            return False
        return not self.held or self.held < free * self.allowance.share


class Ticket:
    """A place in the queue, kept from before a request waits until after its end."""

    def __init__(self, queue: "Queue", account: _Account, images: int) -> None:
        self._queue = queue
        self.account = account
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
        self._accounts: dict[int, _Account] = {}
        self._waiting: OrderedDict[int, _Account] = OrderedDict()
        self._seconds = 1.0

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(len(account.line) for account in self._waiting.values())

    @contextmanager
    def ticket(
        self, account_id: int, images: int, allowance: Allowance = ALL, *, was_taken: bool = False
    ) -> Iterator[Ticket]:
        """A place for a request of so many images; one that was taken before has it always. Raises QueueFull."""
        account = self._accounts.get(account_id) or _Account(account_id, allowance)
        account.allowance = allowance
        if not was_taken:
            self._refuse_excess(account)
        self._accounts[account_id] = account
        account.requests += 1
        try:
            yield Ticket(self, account, images)
        finally:
            account.requests -= 1
            if not account.requests:
                del self._accounts[account_id]

    async def enter(self, ticket: Ticket) -> None:
        """Returns when it is this ticket's turn."""
        ticket.account.line.append(ticket)
        self._waiting.setdefault(ticket.account.id, ticket.account)
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
        while (account := self._next()) is not None:
            if account.line[0].images > self._free and self._free < self._room:
                return
            self._let_in(account)

    def _next(self) -> _Account | None:
        """The account whose turn it is, of those that may have one."""
        return next((account for account in self._waiting.values() if account.may_enter(self._free)), None)

    def _let_in(self, account: _Account) -> None:
        ticket = account.line.popleft()
        account.running += 1
        account.held += ticket.images
        account.turns += 1
        self._free -= ticket.images
        if not account.line or account.turns >= account.allowance.share:
            self._end_turns(account)
        ticket.called.set()

    def _end_turns(self, account: _Account) -> None:
        """It is behind all others, if it still waits."""
        account.turns = 0
        del self._waiting[account.id]
        if account.line:
            self._waiting[account.id] = account

    def _give_back(self, ticket: Ticket) -> None:
        ticket.account.running -= 1
        ticket.account.held -= ticket.images
        self._free += ticket.images

    def _withdraw(self, ticket: Ticket) -> None:
        account = ticket.account
        if ticket.called.is_set():
            self._give_back(ticket)
        else:
            account.line.remove(ticket)
            if not account.line:
                self._end_turns(account)
        self._call()

    def _refuse_excess(self, account: _Account) -> None:
        own = self._per_account if account.allowance.waiting is None else account.allowance.waiting
        in_all = sum(one.requests for one in self._accounts.values())
        if account.requests >= own:
            whose, has, limit = "This account", account.requests, own
        elif in_all >= self._total:
            whose, has, limit = "The server", in_all, self._total
        else:
            return
        retry_after = self._retry_after()
        raise QueueFull(
            f"{whose} has {has} requests waiting or running, and no more than {limit} are taken; "
            f"try again in {retry_after} s.",
            retry_after,
        )

    def _retry_after(self) -> int:
        """When one more place should be free: as long as a request takes, for each roomful that waits before it."""
        waiting = sum(ticket.images for account in self._waiting.values() for ticket in account.line)
        return min(math.ceil(self._seconds * (1 + waiting / self._room)), LONGEST_RETRY_AFTER)
