"""Sliding windows in a Redis, where several servers count together."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from limits import WindowStats
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gesso.accounts.windows import Window, Windows
from gesso.errors import ServiceUnavailable, SettingsError

log = structlog.get_logger()

PREFIX: Final = "gesso"
"""What our keys in a Redis begin with."""

CONNECTIONS: Final = 32
PATIENCE: Final = 2.0
"""Seconds that Redis has to let a connection in and to answer, and a request to wait for a free connection."""
RETRY_AFTER: Final = 5

WRONG: Final = (
    "setting redis_url: this is no address of a Redis; one is written redis://host:6379/0, or with a password "
    "redis://:password@host:6379/0, or rediss:// where it speaks TLS"
)
"""Without the value: there may be a password in it."""


class RedisWindows(Windows):
    """Counted in the Redis at `url`, which need not be there yet: what it is asked for meanwhile is refused."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError for what is no address of a Redis."""
        pool = _connections(url)
        storage = RedisStorage(
            "redis://", wrap_exceptions=True, implementation="redispy", key_prefix=PREFIX, connection_pool=pool
        )
        super().__init__(MovingWindowRateLimiter(storage))
        self._redis: Any = Redis(connection_pool=pool)  # its types are at once those of the one that does not wait
        self._pool = pool

    async def take(self, windows: Sequence[Window]) -> bool:
        """Also raises ServiceUnavailable."""
        with _outage_told():
            return await super().take(windows)

    async def stats(self, windows: Sequence[Window]) -> list[WindowStats]:
        """Also raises ServiceUnavailable."""
        with _outage_told():
            return await super().stats(windows)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._pool.aclose()

    async def _withdraw(self, name: str) -> None:
        await self._redis.lpop(f"{PREFIX}:{name}")


def _connections(url: str) -> Any:
    """A pool, of which no connection is open yet. (`limits` takes one, but declares numbers and words only.)"""
    if not _is_address(url):
        raise SettingsError(WRONG)
    try:
        pool: Any = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=PATIENCE,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),  # a request that was counted although the answer got lost must not count twice
        )
        pool.make_connection()  # looks at the options in the URL; nothing is connected
    except (ValueError, TypeError, RedisError):
        raise SettingsError(WRONG) from None
    return pool


def _is_address(url: str) -> bool:
    """What is wrong in it, redis-py would in part pass over."""
    try:
        parts = urlsplit(url)
        found = parts.hostname is not None and parts.port != 0
    except ValueError:
        return False
    return found and parts.scheme in ("redis", "rediss") and re.fullmatch(r"(/\d*)?", parts.path) is not None


@contextmanager
def _outage_told() -> Iterator[None]:
    try:
        yield
    except (StorageError, RedisError) as error:
        log.error("rates cannot be checked", redis=str(error))
        raise ServiceUnavailable(
            "Rate limits cannot be checked now: the server's Redis cannot be used.", RETRY_AFTER
        ) from error
