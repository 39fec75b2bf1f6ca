"""What every engine keeps: one suite for the fake and the local one."""

import asyncio
import os
import pickle
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from gesso.engine import process
from gesso.engine.fake import FakeEngine
from gesso.engine.local import LocalEngine
from gesso.engine.messages import (
    Admitted,
    CheckpointFiles,
    Event,
    Finished,
    Paint,
    Painted,
    Pixels,
    Preview,
    Progress,
    Refinement,
    StartImage,
)
from gesso.errors import BadRequest, ServiceUnavailable
from gesso.jobs.ports import Engine
from gesso.prompt.chunks import Chunk
from gesso.prompt.understanding import Stretch

SOON = 60


def words(*tokens: int) -> tuple[Stretch, ...]:
    return (Stretch(1000, (), (Chunk(tokens, (1.0,) * len(tokens)),)),)


@pytest.fixture(scope="module")
def request_(folder: Path) -> Paint:
    return Paint(
        id="one",
        checkpoint=CheckpointFiles("base", str(folder / "base.safetensors")),
        prompt=words(320, 736, 4440),
        negative_prompt=words(),
        scheduler="UniPC",
        steps=4,
        guidance_scale=5.0,
        width=64,
        height=96,
        seeds=(1, 2),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["fake", "local"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    engine: Engine = FakeEngine(seconds=0.01) if request.param == "fake" else LocalEngine("cpu", "float32")
    await engine.start()
    yield engine
    await engine.stop()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def paint(engine: Engine, request: Paint) -> list[Event]:
    async with asyncio.timeout(SOON):
        return [event async for event in engine.paint(request)]


def pictures(events: list[Event]) -> list[Pixels]:
    painted = {event.image: event.pixels for event in events if isinstance(event, Painted)}
    return [painted[image] for image in sorted(painted)]


async def test_a_request_is_admitted_makes_progress_is_painted_and_finishes(engine: Engine, request_: Paint) -> None:
    events = await paint(engine, request_)
    assert isinstance(events[0], Admitted)
    assert isinstance(events[-1], Finished)
    for image in (0, 1):
        progress = [(event.done, event.due) for event in events if isinstance(event, Progress) and event.image == image]
        assert progress == sorted(progress)
        assert progress[-1] == (4, 4)
    assert [(picture.width, picture.height, len(picture.rgb)) for picture in pictures(events)] == [(64, 96, 18432)] * 2


async def test_equal_requests_are_equal_pictures(engine: Engine, request_: Paint) -> None:
    first = pictures(await paint(engine, request_))
    assert pictures(await paint(engine, replace(request_, id="two"))) == first
    assert first[0] != first[1]


async def test_sample_i_is_the_picture_of_seed_plus_i(engine: Engine, request_: Paint) -> None:
    both = pictures(await paint(engine, request_))
    (second,) = pictures(await paint(engine, replace(request_, seeds=(2,))))
    assert both[1].rgb == second.rgb


async def test_every_field_that_means_something_changes_the_picture(
    engine: Engine, request_: Paint, folder: Path
) -> None:
    one = replace(request_, seeds=(1,))
    refiner = CheckpointFiles("refiner", str(folder / "refiner.safetensors"))
    start = StartImage(Pixels(64, 96, bytes(range(256)) * 72), 0.5)
    others = [
        replace(one, prompt=words(1, 2)),
        replace(one, negative_prompt=words(5)),
        replace(one, scheduler="Euler a"),
        replace(one, steps=5),
        replace(one, guidance_scale=6.0),
        replace(one, width=96),
        replace(one, seeds=(1 + 2**32,)),
        replace(one, refinement=Refinement(refiner, 0.5, 0.2)),
        replace(one, refinement=Refinement(refiner, 0.0, 0.5)),
        replace(one, start=start),
    ]
    painted = [pictures(await paint(engine, request))[0] for request in (one, *others)]
    assert len({picture.rgb for picture in painted}) == len(painted)


async def test_many_at_once_are_all_painted(engine: Engine, request_: Paint) -> None:
    requests = [replace(request_, id=str(seed), seeds=(seed,), steps=2 + seed % 3) for seed in range(40)]
    results = await asyncio.gather(*(paint(engine, request) for request in requests))
    assert all(isinstance(events[-1], Finished) for events in results)
    assert len({pictures(events)[0].rgb for events in results}) == 40


async def test_closing_the_events_cancels_and_harms_nobody_else(engine: Engine, request_: Paint) -> None:
    abandoned = engine.paint(replace(request_, id="abandoned", steps=400))
    await anext(aiter(abandoned))
    await abandoned.aclose()  # type: ignore[attr-defined]
    assert len(pictures(await paint(engine, replace(request_, id="other")))) == 2
    ticks = engine.state.ticks
    async with asyncio.timeout(SOON):
        while engine.state.images or engine.state.ticks != ticks:
            ticks = engine.state.ticks
            await asyncio.sleep(1)
    assert ticks < 400, "the abandoned one was painted all the same"


async def test_a_scheduler_that_there_is_not_is_refused_by_name(engine: Engine, request_: Paint) -> None:
    with pytest.raises(BadRequest, match="DPM adaptive"):
        await paint(engine, replace(request_, id="refused", scheduler="DPM adaptive"))
    assert len(pictures(await paint(engine, replace(request_, id="after")))) == 2


async def test_who_asks_and_whether_previews_are_wanted_changes_no_picture(engine: Engine, request_: Paint) -> None:
    events = await paint(engine, request_)
    assert not any(isinstance(event, Preview) for event in events)
    watched = await paint(engine, replace(request_, account=7, share=3, previews=True))
    assert pictures(watched) == pictures(events)


async def test_it_tells_where_the_time_went(engine: Engine, request_: Paint) -> None:
    began = time.monotonic()
    events = await paint(engine, replace(request_, seeds=(1, 2, 3)))
    elapsed = time.monotonic() - began
    end = events[-1]
    assert isinstance(end, Finished)
    phases = [end.timings.queue, end.timings.encode, end.timings.denoise, end.timings.decode]
    assert all(0 <= seconds <= elapsed for seconds in phases)
    assert 0 < end.timings.denoise <= end.seconds <= elapsed
    assert 1 <= end.timings.company <= 3


async def test_it_tells_what_is_in_flight_and_what_waits(engine: Engine, request_: Paint) -> None:
    large = replace(request_, seeds=tuple(range(20)), steps=200)
    requests = [replace(large, id="one"), replace(large, id="two"), replace(large, id="wide", width=128)]
    painting = [asyncio.create_task(paint(engine, request)) for request in requests]
    async with asyncio.timeout(SOON):
        while not (engine.state.images and engine.state.waiting):
            await asyncio.sleep(0.01)
    state = engine.state
    assert sum(batch.images for batch in state.batches) == state.images
    assert {batch.checkpoint for batch in state.batches} == {"base"}
    assert {(batch.width, batch.height) for batch in state.batches} <= {(64, 96), (128, 96)}
    assert state.images + state.waiting <= 60
    for task in painting:
        task.cancel()
    async with asyncio.timeout(SOON):
        while engine.state.images or engine.state.waiting:
            await asyncio.sleep(0.01)
    assert engine.state.batches == ()


async def test_messages_are_plain_and_survive_the_boundary(engine: Engine, request_: Paint) -> None:
    for message in (request_, *(await paint(engine, request_))):
        assert pickle.loads(pickle.dumps(message)) == message


async def test_it_says_that_it_is_ready(engine: Engine, request_: Paint) -> None:
    await paint(engine, request_)
    async with asyncio.timeout(SOON):
        while engine.state.ticks == 0:
            await asyncio.sleep(0.05)
    assert engine.state.status == "ready"
    assert engine.state.device


class TestLocalEngine:
    """What only an engine with files and a process can do wrong."""

    pytestmark = pytest.mark.asyncio(loop_scope="function")

    @pytest_asyncio.fixture
    async def local(self) -> AsyncIterator[LocalEngine]:
        engine = LocalEngine("cpu", "float32")
        await engine.start()
        yield engine
        await engine.stop()

    async def test_a_missing_or_broken_checkpoint_fails_its_own_requests_by_name(
        self, local: LocalEngine, request_: Paint, folder: Path
    ) -> None:
        missing = folder / "nowhere.safetensors"
        cut = folder / "cut.safetensors"
        cut.write_bytes((folder / "base.safetensors").read_bytes()[:100_000])
        for path in (missing, cut):
            with pytest.raises(ServiceUnavailable, match=path.name):
                await paint(local, replace(request_, checkpoint=CheckpointFiles("x", str(path))))
        assert len(pictures(await paint(local, request_))) == 2

    async def test_requests_survive_the_death_of_the_engine(self, local: LocalEngine, request_: Paint) -> None:
        several = replace(request_, seeds=tuple(range(20)))
        expected = pictures(await paint(local, several))
        stream = aiter(local.paint(replace(several, id="survivor")))
        events: list[Event] = []
        async with asyncio.timeout(SOON):
            while not (events and isinstance(events[-1], Painted)):
                events.append(await anext(stream))
            assert local._process is not None
            os.kill(local._process.pid, signal.SIGKILL)
            events += [event async for event in stream]
        assert pictures(events) == expected
        painted = [event.image for event in events if isinstance(event, Painted)]
        assert sorted(painted) == list(range(20)), "what was delivered is not delivered again"

    @pytest.mark.parametrize("hang", [signal.SIGSTOP, "endless"])
    async def test_requests_survive_an_engine_that_hangs(
        self,
        hang: signal.Signals | str,
        local: LocalEngine,
        request_: Paint,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        several = replace(request_, seeds=tuple(range(8)), steps=30)
        expected = pictures(await paint(local, several))
        if hang == "endless":
            monkeypatch.setattr(process, "WORKER", "tests.engine.endless_worker")
            monkeypatch.setenv("ENDLESS", str(tmp_path / "trap"))
            (tmp_path / "trap").touch()
        engine = LocalEngine("cpu", "float32", silence=4, stuck=0.4)
        await engine.start()
        stream = aiter(engine.paint(several))
        events = [await anext(stream)]
        assert engine._process is not None
        first = engine._process.pid
        if isinstance(hang, signal.Signals):
            os.kill(first, hang)
        async with asyncio.timeout(SOON):
            events += [event async for event in stream]
        assert pictures(events) == expected
        assert engine._process is not None
        assert engine._process.pid != first
        end = events[-1]
        assert isinstance(end, Finished)
        assert end.timings.queue > 2, "the time that the engine lost is told as waiting"
        await engine.stop()

    async def test_a_pause_of_the_server_harms_no_healthy_engine(self, request_: Paint) -> None:
        engine = LocalEngine("cpu", "float32", silence=2)
        await engine.start()
        await paint(engine, request_)
        assert engine._process is not None
        healthy = engine._process.pid
        painting = asyncio.create_task(paint(engine, replace(request_, id="long", steps=100)))
        await asyncio.sleep(0.2)
        time.sleep(5)  # the whole server stands still, its engine does not
        assert len(pictures(await painting)) == 2
        await asyncio.sleep(2)
        assert engine._process.pid == healthy
        assert engine.state.status == "ready"
        await engine.stop()

    async def test_the_threads_asked_for_decide_the_bits_and_not_the_environments(
        self, request_: Paint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        painted: dict[tuple[int, str], list[Pixels]] = {}
        for threads, environment in [(2, "1"), (2, "2"), (1, "2")]:
            monkeypatch.setenv("OMP_NUM_THREADS", environment)
            engine = LocalEngine("cpu", "float32", threads)
            await engine.start()
            painted[threads, environment] = pictures(await paint(engine, replace(request_, width=512, height=512)))
            await engine.stop()
        assert painted[2, "1"] == painted[2, "2"]
        assert painted[2, "2"] != painted[1, "2"]

    async def test_a_stopped_engine_refuses_and_fails_what_runs(self, request_: Paint) -> None:
        for engine in (LocalEngine("cpu", "float32"), FakeEngine(seconds=1)):
            await engine.start()
            running = asyncio.create_task(paint(engine, request_))
            await asyncio.sleep(0.1)
            await engine.stop()
            with pytest.raises(ServiceUnavailable, match="stopping"):
                await running
            with pytest.raises(ServiceUnavailable, match="stopping"):
                await paint(engine, replace(request_, id="late"))

    async def test_an_engine_that_never_gets_ready_is_an_answer_and_not_a_wait(self, request_: Paint) -> None:
        engine = LocalEngine("no such device", "float32")
        await engine.start()
        with pytest.raises(ServiceUnavailable, match="does not start"):
            await paint(engine, request_)
        with pytest.raises(ServiceUnavailable, match="does not start"):
            await paint(engine, replace(request_, id="late"))
        await engine.stop()

    async def test_a_request_that_kills_every_engine_is_given_up(self, local: LocalEngine, request_: Paint) -> None:
        async def kill_whenever_it_begins() -> None:
            async for event in local.paint(replace(request_, id="deadly", steps=400)):
                if isinstance(event, Admitted):
                    assert local._process is not None
                    os.kill(local._process.pid, signal.SIGKILL)

        async with asyncio.timeout(SOON):
            with pytest.raises(ServiceUnavailable, match="died"):
                await kill_whenever_it_begins()
            assert len(pictures(await paint(local, request_))) == 2
