"""Strangers' image bytes into pixels, in processes of their own that may crash, hang or swell without harm.

The processes stay warm between images. What an image does to one is the image's fault and a `BadRequest`.
"""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator

from gesso.engine.messages import Pixels
from gesso.errors import BadRequest
from gesso.imaging.decode_process import PICTURE, QUESTION, REFUSAL, SECONDS_LIMIT
from gesso.imaging.refusal import refused

PATIENCE = 60.0
"""Seconds after which a process is given up that neither answers nor uses up its processor time."""

_ENVIRONMENT = ("PATH", "HOME", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""All that a decoding process learns of ours: no key, no password."""


class Decoder:
    """At most `processes` images are decoded at once; others wait their turn."""

    def __init__(self, processes: int = 2) -> None:
        self._places = asyncio.Semaphore(processes)
        self._idle: list[Process] = []

    async def start(self) -> None:
        """Warm one process up, so that the first image is quick."""
        self._idle.append(await _spawn())

    async def stop(self) -> None:
        """End every idle process."""
        while self._idle:
            await _end(self._idle.pop())

    async def decode(self, data: bytes) -> Pixels:
        """The first frame of a PNG, JPEG, WebP, GIF, BMP or TIFF file: upright, on white, at the size it is painted at.

        Raises:
            BadRequest: the file is broken, of another kind, too large or too long in shape; names `image`.
        """
        async with self._places, self._process() as process:
            answer = await _ask(process, data)
        if isinstance(answer, BadRequest):
            raise answer
        return answer

    @contextlib.asynccontextmanager
    async def _process(self) -> AsyncIterator[Process]:
        """A process for one question; unless it comes through unharmed, it is ended."""
        process = self._warm() or await _spawn()
        try:
            yield process
        except BaseException:
            await _end(process)
            raise
        self._idle.append(process)

    def _warm(self) -> Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return None


async def _spawn() -> Process:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    command = (sys.executable, "-m", "gesso.imaging.decode_process")
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment)


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _ask(process: Process, data: bytes) -> Pixels | BadRequest:
    try:
        async with asyncio.timeout(PATIENCE):
            return await _converse(process, data)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise refused(f"cannot be decoded within {SECONDS_LIMIT} seconds and the memory allowed") from None
    except TimeoutError:
        raise refused(f"cannot be decoded within {PATIENCE:.0f} seconds") from None


async def _converse(process: Process, data: bytes) -> Pixels | BadRequest:
    assert process.stdin is not None, "opened as a pipe"
    assert process.stdout is not None, "opened as a pipe"
    process.stdin.write(QUESTION.pack(len(data)) + data)
    await process.stdin.drain()
    if (kind := await process.stdout.readexactly(1)) == b"-":
        _, length = REFUSAL.unpack(kind + await process.stdout.readexactly(REFUSAL.size - 1))
        return refused((await process.stdout.readexactly(length)).decode())
    _, width, height = PICTURE.unpack(kind + await process.stdout.readexactly(PICTURE.size - 1))
    return Pixels(width, height, await process.stdout.readexactly(width * height * 3))
