"""What jobs need from the rest of the house, as interfaces; who implements them is decided in `gesso.app`."""

from collections.abc import AsyncIterator
from typing import Protocol

from gesso.engine.messages import EngineState, Event, Paint


class Engine(Protocol):
    """Paints requests; implemented by `gesso.engine.fake` and `gesso.engine.local`."""

    async def start(self) -> None:
        """Begin; returns when commands are taken, which may be before the engine is ready."""

    async def stop(self) -> None:
        """End; requests still running fail."""

    def paint(self, request: Paint) -> AsyncIterator[Event]:
        """Events of one request, the last a `Finished`. Closing the iterator early cancels the request.

        Raises:
            ServiceUnavailable: the engine died or hung twice under this request, or a checkpoint cannot be loaded.
            PaintingFailed: the request was tried and went wrong.
            BadRequest: it cannot be painted as asked.
        """

    @property
    def state(self) -> EngineState:
        """How the engine is at this moment."""
