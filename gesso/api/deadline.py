"""How long a request may take, from its first byte on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from gesso.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadline:
    """`time` is one of the event loop's clock; `seconds` is how far ahead it was when the request came."""

    time: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """So many seconds from now."""
        return cls(asyncio.get_running_loop().time() + seconds, seconds)

    @asynccontextmanager
    async def limiting(self, what: str) -> AsyncIterator[None]:
        """Cancels the block when the deadline passes, and raises DeadlineExceeded, which names `what` took too long."""
        limit = asyncio.timeout_at(self.time)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"{what} took longer than the {self.seconds:g} seconds of a request.") from None
