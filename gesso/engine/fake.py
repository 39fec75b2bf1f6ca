"""An engine that paints placeholders at once: for tests of everything above the engine, and for measuring a server."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

from gesso.diffusion.names import require_served
from gesso.engine.messages import (
    Admitted,
    Batch,
    EngineState,
    Event,
    Finished,
    Paint,
    Painted,
    Pixels,
    Preview,
    Progress,
    Status,
    Timings,
)
from gesso.errors import ServiceUnavailable

PREVIEW = 8
"""A preview has one pixel for so many of the picture's, each way."""


class FakeEngine:
    """Every image is one colour, which its request and seed decide. `seconds` is what an image takes; a request's
    images are painted one after the other, and every one of them in a UNet call of its own.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._status: Status = "starting"
        self._painted = 0
        self._waiting = 0
        self._flight: Counter[tuple[str, int, int]] = Counter()

    @property
    def state(self) -> EngineState:
        """Ticks and rows count images here."""
        batches = tuple(Batch(*kind, images) for kind, images in self._flight.items())
        work = (self._painted, self._painted, self._flight.total(), self._waiting, batches)
        return EngineState(self._status, *work, device="fake")

    async def start(self) -> None:
        """Be ready."""
        self._status = "ready"

    async def stop(self) -> None:
        """Be gone."""
        self._status = "down"

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        """See `gesso.jobs.ports.Engine`."""
        require_served(request.scheduler)
        self._refuse_if_down()
        yield Admitted(request.id)
        for image, seed in enumerate(request.seeds):
            yield Progress(request.id, image, 0, request.steps)
            pixels = _placeholder(request, seed)
            if request.previews:
                yield Preview(request.id, image, 0, _small(pixels))
            with self._painting(request, still_waiting=len(request.seeds) - image - 1):
                await asyncio.sleep(self._seconds)
            self._refuse_if_down()
            self._painted += 1
            yield Progress(request.id, image, request.steps, request.steps)
            yield Painted(request.id, image, pixels)
        seconds = self._seconds * len(request.seeds)
        timings = Timings(queue=0.0, encode=0.0, denoise=seconds, decode=0.0, company=1.0)
        yield Finished(request.id, seconds, timings)

    @contextmanager
    def _painting(self, request: Paint, still_waiting: int) -> Iterator[None]:
        """One image of the request is in flight, and so many wait for it."""
        kind = (request.checkpoint.id, request.width, request.height)
        self._flight[kind] += 1
        self._waiting += still_waiting
        try:
            yield
        finally:
            self._flight[kind] -= 1
            self._flight += Counter()  # drops those at zero
            self._waiting -= still_waiting

    def _refuse_if_down(self) -> None:
        if self._status == "down":
            raise ServiceUnavailable("the server is stopping")


def _placeholder(request: Paint, seed: int) -> Pixels:
    meaning = repr(replace(request, id="", seeds=(seed,), account=0, share=1, previews=False))
    colour = hashlib.sha256(meaning.encode()).digest()[:3]
    return Pixels(request.width, request.height, colour * (request.width * request.height))


def _small(pixels: Pixels) -> Pixels:
    width, height = pixels.width // PREVIEW, pixels.height // PREVIEW
    return Pixels(width, height, pixels.rgb[: 3 * width * height])
