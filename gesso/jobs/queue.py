"""Waiting for the engine: bounded in all and per account, fair between accounts."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Ticket:
    """A place in the queue."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for room in the engine and keeps it for the block."""
        raise NotImplementedError
        yield

    @property
    def position(self) -> int:
        """How many are before this one; 0 once it has its turn."""
        raise NotImplementedError


class Queue:
    """Lets `room` images into the engine at once, accounts taking turns; the other requests wait."""

    def __init__(self, per_account: int, total: int, room: int = 32) -> None:
        raise NotImplementedError

    @contextmanager
    def ticket(self, account_id: int, images: int) -> Iterator[Ticket]:
        """A place for a request of so many images. Raises QueueFull."""
        raise NotImplementedError
        yield
