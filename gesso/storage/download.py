"""A large file from the network, whole or not at all: it goes on where it broke off, and is held against its hash."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from gesso.errors import ServiceUnavailable
from gesso.storage.digest import sha256_of

PIECE = 2**20
ATTEMPTS = 6
"""How often in a row nothing may come before it is given up; whatever comes begins the count anew."""
PAUSE = 0.5
"""Seconds before the second attempt; twice as many before every further one."""
SILENCE = 60.0
"""Seconds without a byte after which a connection counts as broken."""
DISTRUST = 2
"""How often a file with a wrong hash is fetched before it is believed to be another file."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the network, and what it should be, as far as anybody has said. `headers` go to its own host only."""

    url: str
    sha256: str | None = None
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class _Broken(Exception):
    """The connection broke off; there may be more to have."""


async def download(remote: Remote, path: Path, on_progress: Progress) -> str:
    """Bring a file to `path`, and tell its SHA-256. What came before a connection or the program broke off is kept in
    `path` + `.part` and not asked for again. `on_progress` hears how many bytes are there, of how many, and then how
    many of them are hashed.

    Raises:
        ServiceUnavailable: it cannot be had, there is no room for it, or it is not the file that it should be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(DISTRUST):
        part = _Part(path.with_name(f"{path.name}.part"))
        await _bring(remote, part, on_progress)
        digest = await asyncio.to_thread(sha256_of, part.path, on_progress)
        if remote.sha256 in (None, digest):
            part.become(path)
            return digest
        part.discard()
    raise ServiceUnavailable(
        f"{remote.url} has the sha256 {digest}, and should have {remote.sha256}; it was thrown away"
    )


async def _bring(remote: Remote, part: "_Part", on_progress: Progress) -> None:
    failures = 0
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    async with aiohttp.ClientSession(timeout=timeout, headers=remote.headers) as session:
        while True:
            before = part.size
            try:
                await _go_on(session, remote, part, on_progress)
                return
            except (_Broken, aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                failures = 1 if part.size > before else failures + 1
                if failures >= ATTEMPTS:
                    raise ServiceUnavailable(f"{remote.url} cannot be had: {_cause(error)}; try again later") from None
            await asyncio.sleep(PAUSE * 2 ** (failures - 1))


async def _go_on(session: aiohttp.ClientSession, remote: Remote, part: "_Part", on_progress: Progress) -> None:
    """One connection's worth. Raises `_Broken` if that was not all."""
    async with session.get(remote.url, headers=part.rest()) as answer:
        _refuse(remote, answer)
        if answer.status == 416 and part.size:  # there is no more, or it was never what is there now
            if answer.headers.get("Content-Range") == f"bytes */{part.size}":
                return
            part.discard()
            raise _Broken("it is another file than before")
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            part.discard()
        if answer.status == 206 and not part.size:
            raise _Broken("it sent another part than was asked for")
        due = None if answer.content_length is None else part.size + answer.content_length
        _check(remote, due, part)
        part.tag(answer.headers)
        with part.path.open("ab") as file:
            async for piece in answer.content.iter_chunked(PIECE):
                file.write(piece)
                on_progress(file.tell(), due or file.tell())
    if part.size < (due or remote.size or 0):
        raise _Broken("the connection broke off")


def _refuse(remote: Remote, answer: aiohttp.ClientResponse) -> None:
    """Raises ServiceUnavailable for what no second attempt mends, `_Broken` for what one may."""
    if answer.status in (401, 403):
        raise ServiceUnavailable(
            f"{remote.url} is not for everybody ({answer.status}); a token in HF_TOKEN, or for other hosts in the URL, "
            "may open it, once its licence is accepted there"
        )
    if answer.status >= 500 or answer.status == 429:
        raise _Broken(f"the server answered {answer.status}")
    if answer.status >= 400 and answer.status != 416:
        raise ServiceUnavailable(f"{remote.url} cannot be had: the server answered {answer.status}")


def _check(remote: Remote, due: int | None, part: "_Part") -> None:
    if due is None:
        return
    if remote.size is not None and due != remote.size:
        raise ServiceUnavailable(f"{remote.url} has {due} bytes, and should have {remote.size}")
    free = shutil.disk_usage(part.path.parent).free
    if free < due - part.size:
        missing = (due - part.size - free) / 1e9
        raise ServiceUnavailable(f"{part.path.parent} has not enough room: {missing:.1f} GB are missing")


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__


class _Part:
    """What has come so far, and the version of the file that it is of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tag = path.with_name(f"{path.name}.etag")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def rest(self) -> dict[str, str]:
        """The headers that ask for what is missing, of the same version."""
        if not self.size or not self._tag.exists():
            self.discard()
            return {"Accept-Encoding": "identity"}
        return {"Accept-Encoding": "identity", "Range": f"bytes={self.size}-", "If-Range": self._tag.read_text()}

    def tag(self, headers: Mapping[str, str]) -> None:
        """Note the version, if the server tells one; weak tags do not say that bytes are the same."""
        tag = headers.get("ETag", "")
        version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
        if version:
            self._tag.write_text(version)

    def become(self, path: Path) -> None:
        self.path.replace(path)
        self._tag.unlink(missing_ok=True)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)
