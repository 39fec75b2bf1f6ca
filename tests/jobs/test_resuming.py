"""Jobs whose caller comes again are done again when their server is gone: same seed, same names, paid for once."""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Row, select, text, update

from gesso.accounts.accounts import Allowance
from gesso.accounts.keys import ANYTHING, Caller
from gesso.catalogue.catalogue import load_catalogue
from gesso.catalogue.live import LiveCatalogue
from gesso.catalogue.validation import read_request
from gesso.engine.fake import FakeEngine
from gesso.engine.messages import Pixels, StartImage
from gesso.errors import BadRequest, DeadlineExceeded, NotFound, QueueFull, ServiceUnavailable
from gesso.imaging.png import decode_png
from gesso.jobs.order import Order, resolve
from gesso.jobs.queue import Queue
from gesso.jobs.records import MOST_ATTEMPTS, SavedJob, Tokens
from gesso.jobs.resuming import order_again
from gesso.jobs.retries import Retry
from gesso.jobs.service import Service
from gesso.storage.presence import Presence
from gesso.storage.tables import jobs, pictures
from tests.jobs.house import CREDIT, House, SlowEngine, soon, until
from tests.jobs.orders import an_order

RETRY = Retry("order-1", "digest")
START = Pixels(2, 1, bytes(range(6)))


def a_redrawing(job_id: str) -> Order:
    order = an_order(job_id)
    return replace(order, paint=replace(order.paint, start=StartImage(START, 0.5)))


async def left_behind(house: House, order: Order, retry: Retry | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job as a server leaves it that is killed while it paints."""
    engine = SlowEngine(60)
    service = house.service(engine)
    await service.start()
    painting = asyncio.create_task(service.paint(house.caller, order, soon(), retry))
    await until(lambda: engine.running)
    await killed(service, house.presence, monkeypatch)
    with pytest.raises(ServiceUnavailable):
        await painting


async def killed(service: Service, presence: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what it would do at its end is done; the system lets go of its lock."""

    async def nothing(*_: object) -> None:
        return

    def die() -> None:
        assert presence._descriptor is not None
        os.close(presence._descriptor)

    with monkeypatch.context() as dead:
        dead.setattr(service._books, "release", nothing)
        dead.setattr(service._books, "put_back", nothing)
        dead.setattr(presence, "leave", die)
        await service.stop()


def next_server(house: House, engine: FakeEngine | None = None, **options: object) -> Service:
    house.presence = Presence(house.folder / "servers")
    return house.service(engine or FakeEngine(), **options)  # type: ignore[arg-type]


async def files_of(house: House, job_id: str) -> list[Row[tuple[int, str]]]:
    query = select(pictures.c.image, pictures.c.token).where(pictures.c.job_id == job_id).order_by(pictures.c.image)
    return await house.database.read(lambda connection: list(connection.execute(query)))


async def ended(house: House, job_id: str, status: str) -> None:
    async with asyncio.timeout(10):
        while (await house.job(job_id)).status != status:
            await asyncio.sleep(0.01)


async def test_it_is_done_again_under_the_same_names_and_paid_for_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_behind(house, an_order("job", samples=2), RETRY, monkeypatch)
    before = await files_of(house, "job")
    service = next_server(house)
    await service.start()
    again = await service.paint(house.caller, an_order("another", samples=2), soon(), RETRY)
    assert again.request_id == "job"
    assert [picture.token for picture in again.pictures] == [token for _, token in before]
    job = await house.job("job")
    assert (job.status, job.attempt) == ("done", 2)
    assert await house.balance() == 9 * CREDIT
    assert (await house.count("job", "reserve"), await house.count("job", "capture")) == (1, 1)
    await service.stop()


async def test_it_is_done_also_when_nobody_comes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(house, an_order("job"), RETRY, monkeypatch)
    service = next_server(house)
    await service.start()
    await ended(house, "job", "done")
    await service.stop()
    assert len(house.files()) == 1


async def test_a_server_whose_job_another_took_over_neither_ends_nor_spoils_it(house: House) -> None:
    engine, slow = SlowEngine(0.4), SlowEngine(0.8)
    first = house.service(engine)
    painting = asyncio.create_task(first.paint(house.caller, an_order("job"), soon(), RETRY))
    await until(lambda: engine.running)
    silent = update(jobs).values(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    await house.database.write(lambda connection: connection.execute(silent))
    second = next_server(house, slow)
    await second.start()
    await until(lambda: slow.running)
    with pytest.raises(ServiceUnavailable, match="away for too long"):
        await painting
    assert (await house.job("job")).status == "running"
    delivery = await second.paint(house.caller, an_order("another"), soon(), RETRY)
    assert [path.stem for path in house.files()] == [delivery.pictures[0].token]
    assert (await house.balance(), await house.count("job", "capture")) == (9 * CREDIT, 1)
    await second.stop()


async def test_a_job_that_another_server_did_meanwhile_is_delivered_and_charged_once(house: House) -> None:
    engine = SlowEngine(0.6)
    first = house.service(engine)
    painting = asyncio.create_task(first.paint(house.caller, an_order("job"), soon(), RETRY))
    await until(lambda: engine.running)
    silent = update(jobs).values(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    await house.database.write(lambda connection: connection.execute(silent))
    second = next_server(house)
    await second.start()
    theirs = await second.paint(house.caller, an_order("another"), soon(), RETRY)
    ours = await painting
    assert (ours.request_id, ours.course.remaining_micro) == (theirs.request_id, theirs.course.remaining_micro)
    assert [path.stem for path in house.files()] == [ours.pictures[0].token]
    assert (await house.balance(), await house.count("job", "capture")) == (9 * CREDIT, 1)
    await second.stop()


async def test_what_its_caller_was_told_has_failed_is_not_done_later(house: House) -> None:
    engine = SlowEngine(60)
    service = house.service(engine)
    await service.start()
    task = asyncio.create_task(service.paint(house.caller, an_order("job"), soon(), RETRY))
    await until(lambda: engine.running)
    await house.database.write(lambda connection: connection.execute(text("ALTER TABLE jobs RENAME TO mislaid")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await house.database.write(lambda connection: connection.execute(text("ALTER TABLE mislaid RENAME TO jobs")))
    await service._recover()
    await house.nothing_is_left_of("job", "cancelled")
    await service.stop()


async def test_whoever_asks_again_at_once_gets_a_picture(house: House) -> None:
    engine = SlowEngine(0.3)
    service = house.service(engine)
    task = asyncio.create_task(service.paint(house.caller, an_order("job"), soon(), RETRY))
    await until(lambda: engine.running)
    task.cancel()
    again = asyncio.create_task(service.paint(house.caller, an_order("again"), soon(), RETRY))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await again).request_id == "again"
    assert (await house.job("job")).status == "cancelled"
    assert await house.balance() == 9 * CREDIT


async def test_whoever_may_wait_longer_is_not_told_of_the_firsts_deadline(house: House) -> None:
    engine = SlowEngine(0.5)
    service = house.service(engine)
    first = asyncio.create_task(service.paint(house.caller, an_order("job"), soon(0.3), RETRY))
    await until(lambda: engine.running)
    second = asyncio.create_task(service.paint(house.caller, an_order("again"), soon(), RETRY))
    with pytest.raises(DeadlineExceeded, match="stopped, not charged"):
        await first
    assert (await second).request_id == "again"


async def test_whoever_waits_for_anothers_job_is_told_at_its_deadline_that_it_goes_on(house: House) -> None:
    engine = SlowEngine(0.6)
    service = house.service(engine)
    first = asyncio.create_task(service.paint(house.caller, an_order("job"), soon(), RETRY))
    await until(lambda: engine.running)
    with pytest.raises(DeadlineExceeded, match="still being worked on"):
        await service.paint(house.caller, an_order("again"), soon(0.1), RETRY)
    assert (await first).request_id == "job"


async def test_one_without_a_name_is_released(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(house, an_order("job"), None, monkeypatch)
    service = next_server(house)
    await service.start()
    await house.nothing_is_left_of("job", "failed")
    await service.stop()


async def test_what_ends_server_after_server_is_released_at_last(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(house, an_order("job"), RETRY, monkeypatch)
    for attempt in range(2, MOST_ATTEMPTS + 1):
        engine = SlowEngine(60)
        service = next_server(house, engine)
        await service.start()
        await until(lambda: engine.running)  # noqa: B023
        assert (await house.job("job")).attempt == attempt
        await killed(service, house.presence, monkeypatch)
    service = next_server(house)
    await service.start()
    await house.nothing_is_left_of("job", "failed")
    await service.stop()


async def test_its_start_image_is_kept_for_that_long(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(house, a_redrawing("job"), RETRY, monkeypatch)
    (number, start), (_, picture) = await files_of(house, "job")
    assert number < 0
    assert decode_png(await house.pictures.read(start)) == START
    seen: list[Pixels | None] = []

    def again(job: SavedJob, _: Caller, start: Pixels | None) -> Order:
        seen.append(start)
        return a_redrawing(job.id)

    service = next_server(house, again=again)
    await service.start()
    await ended(house, "job", "done")
    await until(lambda: {path.stem for path in house.files()} == {picture})
    assert seen == [START]
    await service.stop()
    assert [token for _, token in await files_of(house, "job")] == [picture]


async def test_a_start_image_that_was_not_kept_yet_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(house, a_redrawing("job"), RETRY, monkeypatch)
    await house.pictures.delete((await files_of(house, "job"))[0].token)
    service = next_server(house)
    await service.start()
    await ended(house, "job", "failed")
    await service.stop()
    await house.nothing_is_left_of("job", "failed")
    assert (await house.job("job")).problem == "The server stopped before the start image was kept."


async def test_it_is_not_refused_a_place_where_new_requests_are(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(house, an_order("job"), RETRY, monkeypatch)
    service = next_server(house, queue=Queue(per_account=64, total=0))
    await service.start()
    await ended(house, "job", "done")
    with pytest.raises(QueueFull):
        await service.paint(house.caller, an_order("new"), soon())
    await service.stop()


async def test_what_was_half_written_does_not_stay(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await left_behind(house, an_order("job"), RETRY, monkeypatch)
    token = (await files_of(house, "job"))[0].token
    await house.pictures.put(token, b"half")
    (file,) = house.files()
    file.rename(file.with_suffix(".abcd.part"))
    service = next_server(house)
    await service.start()
    await ended(house, "job", "done")
    await service.stop()
    assert [path.name for path in house.files()] == [f"{token}.png"]


async def test_without_a_name_no_start_image_is_kept(house: House) -> None:
    delivery = await house.service(FakeEngine()).paint(house.caller, a_redrawing("job"), soon())
    assert [token for _, token in await files_of(house, "job")] == [delivery.pictures[0].token]


async def test_what_the_catalogue_does_not_know_any_more_is_released_with_the_reason(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_behind(house, an_order("job"), RETRY, monkeypatch)

    def unknown(job: SavedJob, _: Caller, __: Pixels | None) -> Order:
        raise NotFound(f"There is no {job.slug}.")

    service = next_server(house, again=unknown)
    await service.start()
    await ended(house, "job", "failed")
    await service.stop()
    await house.nothing_is_left_of("job", "failed")
    assert (await house.job("job")).problem == "There is no sdxl1.0-txt2img."


async def test_a_server_that_is_stopped_leaves_it_to_the_next_at_once(house: House) -> None:
    engine = SlowEngine(60)
    service = house.service(engine)
    await service.start()
    named = asyncio.create_task(service.paint(house.caller, an_order("named"), soon(), RETRY))
    other = asyncio.create_task(service.paint(house.caller, an_order("other"), soon()))
    await until(lambda: len(engine.running) == 2)
    await service.stop()
    for task in (named, other):
        with pytest.raises(ServiceUnavailable, match="stopping"):
            await task
    assert ((await house.job("named")).status, (await house.job("other")).status) == ("queued", "cancelled")
    assert await house.balance() == 9 * CREDIT
    service = next_server(house)
    await service.start()
    await ended(house, "named", "done")
    await service.stop()


@pytest.mark.parametrize("slug", ["sdxl1.0-txt2img", "sdxl-img2img"])
def test_the_order_is_the_same_with_the_seed_that_was_drawn_and_the_price_that_was_reserved(
    slug: str, tmp_path: Path
) -> None:
    live = LiveCatalogue(load_catalogue, tmp_path / "registry.json")
    start = Pixels(512, 512, bytes(3 * 512 * 512)) if slug == "sdxl-img2img" else None
    body = (
        {"prompt": "a ((boat:1.2)) <b>", "samples": "2", "image": "x"}
        if start
        else {"prompt": "a boat", "style": "anime"}
    )
    first = resolve(
        read_request(live.current.endpoint(slug), body),
        "id",
        live.current,
        models_dir=tmp_path,
        account_id=3,
        share=2,
        start_image=start,
    )
    saved = SavedJob("id", 1, slug, first.request, 77, Tokens(("a", "b")))
    caller = Caller(3, "acme", "member", False, Allowance(share=2), 1, ANYTHING)
    assert order_again(live, tmp_path, saved, caller, start) == replace(first, cost_micro=77)
    with pytest.raises(NotFound):
        order_again(live, tmp_path, replace(saved, slug="gone"), caller, start)
    with pytest.raises(BadRequest):
        order_again(live, tmp_path, replace(saved, request={**first.request, "samples": 99}), caller, start)
