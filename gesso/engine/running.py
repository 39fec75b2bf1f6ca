"""The engine that the settings name, from start to stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gesso.engine.fake import FakeEngine
from gesso.engine.local import LocalEngine
from gesso.settings import Settings


@asynccontextmanager
async def running_engine(settings: Settings) -> AsyncIterator[FakeEngine | LocalEngine]:
    """Started at the beginning of the block, stopped at its end."""
    engine = FakeEngine() if settings.engine == "fake" else LocalEngine(settings.device, settings.precision)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
