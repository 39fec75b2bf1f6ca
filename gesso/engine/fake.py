"""An engine that paints placeholders at once: for tests of everything above the engine, and for measuring a server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

from gesso.diffusion.names import require_served
from gesso.engine.messages import Admitted, EngineState, Event, Finished, Paint, Painted, Pixels, Progress, Timings
from gesso.errors import ServiceUnavailable


class FakeEngine:
    """Every image is one colour, which its request and seed decide. `seconds` is what an image takes."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._state = EngineState("starting", device="fake")

    @property
    def state(self) -> EngineState:
        """Ticks and rows count images here."""
        return self._state

    async def start(self) -> None:
        """Be ready."""
        self._state = replace(self._state, status="ready")

    async def stop(self) -> None:
        """Be gone."""
        self._state = replace(self._state, status="down")

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        """See `gesso.jobs.ports.Engine`."""
        require_served(request.scheduler)
        self._refuse_if_down()
        yield Admitted(request.id)
        for image, seed in enumerate(request.seeds):
            yield Progress(request.id, image, 0, request.steps)
            await asyncio.sleep(self._seconds)
            self._refuse_if_down()
            self._state = replace(self._state, ticks=self._state.ticks + 1, rows=self._state.rows + 1)
            yield Progress(request.id, image, request.steps, request.steps)
            yield Painted(request.id, image, _placeholder(request, seed))
        seconds = self._seconds * len(request.seeds)
        yield Finished(request.id, seconds, Timings(0.0, 0.0, seconds, 0.0, company=1.0))

    def _refuse_if_down(self) -> None:
        if self._state.status == "down":
            raise ServiceUnavailable("the server is stopping")


def _placeholder(request: Paint, seed: int) -> Pixels:
    meaning = repr(replace(request, id="", seeds=(seed,)))
    colour = hashlib.sha256(meaning.encode()).digest()[:3]
    return Pixels(request.width, request.height, colour * (request.width * request.height))
