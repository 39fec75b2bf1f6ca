from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gesso.engine.fake import FakeEngine
from gesso.engine.messages import Event, Paint
from gesso.errors import ServiceUnavailable
from gesso.jobs.warm_up import NOBODY, STEPS, warm_up
from tests.jobs.orders import an_order


class NotingEngine(FakeEngine):
    """A fake engine that says what it painted, and cannot paint what is called `missing`."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[Paint] = []

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        if request.id == "missing":
            raise ServiceUnavailable("there is no such file")
        self.painted.append(request)
        async for event in super().paint(request):
            yield event


@pytest.fixture
async def engine() -> NotingEngine:
    engine = NotingEngine()
    await engine.start()
    return engine


async def test_everything_is_painted_once_in_few_steps_and_for_nobody(engine: NotingEngine) -> None:
    paints = [an_order(name).paint for name in ("one", "other")]
    await warm_up(engine, paints)
    assert engine.painted == [replace(paint, steps=STEPS, account=NOBODY) for paint in paints]


async def test_what_cannot_be_painted_keeps_nothing_else_from_it(engine: NotingEngine) -> None:
    await warm_up(engine, [an_order("missing").paint, an_order("there").paint])
    assert [paint.id for paint in engine.painted] == ["there"]
