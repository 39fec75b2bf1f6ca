"""The engine that the settings name: from start to stop, and when it is ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from gesso.engine.fake import FakeEngine
from gesso.engine.local import LocalEngine
from gesso.engine.messages import EngineState
from gesso.settings import Settings


@asynccontextmanager
async def running_engine(settings: Settings) -> AsyncIterator[FakeEngine | LocalEngine]:
    """Started at the beginning of the block, stopped at its end."""
    engine = _engine(settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def _engine(settings: Settings) -> FakeEngine | LocalEngine:
    if settings.engine == "fake":
        return FakeEngine()
    return LocalEngine(
        settings.device,
        settings.precision,
        settings.threads,
        gpu_memory=settings.gpu_memory,
        host_memory=settings.host_memory,
        patience=settings.loading_patience,
    )


class _Stateful(Protocol):
    @property
    def state(self) -> EngineState: ...


async def wait_until_ready(engine: _Stateful, seconds: float) -> bool:
    """Whether the engine is ready within so many seconds; at once if it will never be."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while engine.state.status != "ready" and engine.state.refusal is None:
                await asyncio.sleep(0.05)
    return engine.state.status == "ready"
