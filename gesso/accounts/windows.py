"""Sliding windows: how many requests came within a rate's time until now.

The library `limits` counts; that several windows take a request together, or none of them does, is done here.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItem, WindowStats
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from gesso.accounts.rates import read_rate


@dataclass(frozen=True, slots=True)
class Window:
    """The requests of one key or account at one rate. With another rate, another window begins, which is empty."""

    whose: Literal["key", "account"]
    id: int
    rate: str

    @property
    def limit(self) -> RateLimitItem:
        """The rate as `limits` has it."""
        return read_rate(self.rate)

    @property
    def owner(self) -> str:
        """By what it is told from the windows of others at the same rate."""
        return f"{self.whose}/{self.id}"


class Windows(ABC):
    """All windows, wherever they are counted."""

    def __init__(self, limiter: MovingWindowRateLimiter) -> None:
        self._limiter = limiter

    async def take(self, windows: Sequence[Window]) -> bool:
        """Whether each of these had a place for a request. Then it is counted in all of them, and else in none.

        A request may be counted for a moment in the first although the second is full. So every request of the first
        must be one of the second's too, as a key's are its account's: whom that moment turns away, the second would.
        """
        for number, window in enumerate(windows):
            if not await self._limiter.hit(window.limit, window.owner):
                for counted in windows[:number]:
                    await self._withdraw(counted.limit.key_for(counted.owner))
                return False
        return True

    async def stats(self, windows: Sequence[Window]) -> list[WindowStats]:
        """Of each: how many places are left, and when (in seconds since 1970) its oldest request leaves it."""
        return [await self._limiter.get_window_stats(window.limit, window.owner) for window in windows]

    async def close(self) -> None:
        """Let go of what it holds."""
        return None

    @abstractmethod
    async def _withdraw(self, name: str) -> None:
        """Take the newest request out of the window that `limits` calls so: it is the one that was just counted, or
        one that came within the same moment."""


class MemoryWindows(Windows):
    """Counted by this process alone, and forgotten with it."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        super().__init__(MovingWindowRateLimiter(self._storage))

    async def _withdraw(self, name: str) -> None:
        async with self._storage.locks[name]:
            del self._storage.events.get(name, [])[:1]
