"""How often a caller may ask: its key has a rate, and its account has one; a request must be within both."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gesso.accounts.keys import Caller
from gesso.accounts.rates import check_rate
from gesso.accounts.windows import MemoryWindows, Window, Windows
from gesso.errors import BadRequest, RateLimited, SettingsError


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with the tighter of its rates, whole seconds being rounded up.

    `remaining`: how many requests would be taken at once. `reset`: when there will be a place more. `refusal`: why the
    request was not taken.
    """

    remaining: int
    reset: datetime
    refusal: RateLimited | None = None


class Rates:
    """Every caller's. `default` is the rate of accounts that have none of their own."""

    def __init__(self, windows: Windows, default: str | None) -> None:
        self._windows = windows
        self._default = default

    async def hit(self, caller: Caller) -> Standing | None:
        """Count a request, unless one of the rates refuses it: then neither has counted it. None: there is no rate.

        Raises ServiceUnavailable where it cannot be known.
        """
        windows = self._windows_of(caller)
        if not windows:
            return None
        taken = await self._windows.take(windows)
        return await self._standing(windows, taken)

    async def look(self, caller: Caller) -> Standing | None:
        """The same without a request."""
        windows = self._windows_of(caller)
        return await self._standing(windows, True) if windows else None

    async def close(self) -> None:
        """Let go of what it holds."""
        await self._windows.close()

    def _windows_of(self, caller: Caller) -> list[Window]:
        """The key's before the account's, as `Windows.take` wants them."""
        windows = []
        if caller.scope.rate is not None:
            windows.append(Window("key", caller.key_id, caller.scope.rate))
        if (rate := caller.allowance.rate or self._default) is not None:
            windows.append(Window("account", caller.account_id, rate))
        return windows

    async def _standing(self, windows: Sequence[Window], taken: bool) -> Standing:
        stats = await self._windows.stats(windows)
        window, (oldest_leaves, remaining) = min(
            zip(windows, stats, strict=True), key=lambda one: (one[1].remaining, -one[1].reset_time)
        )
        now = time.time()
        is_untouched = remaining == window.limit.amount
        reset = math.ceil(now if is_untouched else oldest_leaves)
        refusal = None if taken else _refusal(window, 1 if remaining else max(1, math.ceil(oldest_leaves - now)))
        return Standing(remaining, datetime.fromtimestamp(reset, UTC), refusal)


def open_rates(default: str | None, redis_url: str | None) -> Rates:
    """Counted in this Redis, or else in memory. Raises SettingsError for what is no rate, or no address of a Redis."""
    try:
        check_rate(default)
    except BadRequest as error:
        raise SettingsError(f"setting rate: {error.sentence}") from None
    return Rates(_windows_in(redis_url), default)


def _windows_in(redis_url: str | None) -> Windows:
    if redis_url is None:
        return MemoryWindows()
    from gesso.accounts.redis_windows import RedisWindows  # takes a while to import, and few need it

    return RedisWindows(redis_url)


def _refusal(window: Window, retry_after: int) -> RateLimited:
    return RateLimited(
        f"The rate of this {window.whose}, {window.rate}, is used up; another request is taken in {retry_after} s.",
        retry_after,
    )
