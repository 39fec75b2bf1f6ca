"""Files from URLs that strangers give, fetched without lending them the server's place in the network.

The address is checked where the socket is opened, so neither a way of writing it, nor a name that resolves inward, nor
one that changes between two look-ups gets past. Redirects are followed here, each through a new connection.
"""

import asyncio
import socket
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from gesso.imaging.address import Guard
from gesso.imaging.refusal import refused

SIZE_LIMIT = 20_000_000
SECONDS_LIMIT = 10.0
REDIRECT_LIMIT = 3
URL_LIMIT = 8192

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "Gesso"}


class ForbiddenAddressError(OSError):
    """The host of a URL lies where the server does not go for strangers."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches through `guard`; `resolver` looks host names up, the system's by default."""

    guard: Guard
    resolver: AbstractResolver | None = None

    async def fetch(self, url: str) -> bytes:
        """The body behind an http or https `url`, at most 20 MB, within 10 seconds and 3 redirects.

        Raises:
            BadRequest: it cannot be had, and why; names the parameter `image`.
        """
        try:
            async with asyncio.timeout(SECONDS_LIMIT):
                return await self._follow(_parsed(url))
        except TimeoutError:
            raise refused(f"{_shown(url)} did not arrive within {SECONDS_LIMIT:.0f} seconds") from None
        except ForbiddenAddressError as error:
            raise refused(f"{_shown(url)} cannot be fetched: {error}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise refused(f"{_shown(url)} cannot be fetched: {_cause(error)}") from None

    async def _follow(self, url: URL) -> bytes:
        for _ in range(REDIRECT_LIMIT + 1):
            answer = await self._hop(url)
            if isinstance(answer, bytes):
                return answer
            url = answer
        raise refused(f"{_shown(str(url))} is reached only after more than {REDIRECT_LIMIT} redirects")

    async def _hop(self, url: URL) -> bytes | URL:
        door = _Door(self.guard, url.host or "")
        connector = aiohttp.TCPConnector(socket_factory=door.open, resolver=self.resolver, use_dns_cache=False)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            try:
                async with session.get(url, headers=_HEADERS, allow_redirects=False) as response:
                    return _target(url, response) if response.status in _REDIRECTS else await _body(url, response)
            except aiohttp.ClientConnectorError as error:
                raise door.refusal() or error from None


@dataclass(slots=True)
class _Door:
    """Opens sockets for one host, to admitted addresses only, and remembers whom it turned away."""

    guard: Guard
    host: str
    refused: list[str] = field(default_factory=list)

    def open(self, target: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, protocol, _, address = target
        if not self.guard.admits(self.host, str(address[0])):
            self.refused.append(str(address[0]))
            raise ForbiddenAddressError(f"{address[0]} is not a public address")
        return socket.socket(family, kind, protocol)

    def refusal(self) -> ForbiddenAddressError | None:
        return ForbiddenAddressError(f"{self.host} is not a public address") if self.refused else None


def _parsed(url: str) -> URL:
    if len(url) > URL_LIMIT:
        raise refused(f"{_shown(url)} is a URL of {len(url)} characters; at most {URL_LIMIT} are taken")
    parsed = URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise refused(f"{_shown(url)} is not an http or https URL")
    return parsed


def _target(url: URL, response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location", "")
    return _parsed(str(url.join(URL(location)))) if location else url


async def _body(url: URL, response: aiohttp.ClientResponse) -> bytes:
    if response.status != 200:
        raise refused(f"{_shown(str(url))} cannot be fetched: it answered with status {response.status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise refused(f"{_shown(str(url))} cannot be fetched: it came compressed, which was not asked for")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > SIZE_LIMIT:
            raise refused(f"{_shown(str(url))} is larger than {SIZE_LIMIT // 1_000_000} MB")
    return bytes(body)


def _shown(url: str) -> str:
    return url if len(url) <= 200 else f"{url[:200]}…"


def _cause(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "its host cannot be reached"
    if isinstance(error, ValueError):
        return "it is not a valid URL"
    return type(error).__name__
