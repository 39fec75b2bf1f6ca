import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from gesso.accounts.accounts import Accounts, Allowance
from gesso.accounts.credit import UNLIMITED_MICRO
from gesso.accounts.keys import Keys
from gesso.engine.fake import FakeEngine
from gesso.engine.messages import Event, Finished, Paint, Painted, Timings
from gesso.errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    InsufficientCredits,
    PaintingFailed,
    QueueFull,
    ServiceUnavailable,
)
from gesso.imaging.png import decode_png, read_infotext
from gesso.jobs.delivery import Delivery
from gesso.jobs.infotext import infotext
from gesso.jobs.queue import Queue
from gesso.jobs.service import Service
from gesso.storage.database import open_database
from gesso.storage.presence import Presence
from gesso.storage.tables import jobs, pictures
from tests.jobs.house import CREDIT, House, SlowEngine, soon, until
from tests.jobs.orders import an_order


class FailingEngine(FakeEngine):
    """Paints the first image and fails."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self._error = error

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        async for event in super().paint(request):
            yield event
            if isinstance(event, Painted):
                break
        if self._error is not None:
            raise self._error


async def test_a_request_is_painted_stored_and_charged(house: House) -> None:
    order = an_order("job", samples=2, cost_micro=3 * CREDIT)
    delivery = await house.service(FakeEngine()).paint(house.caller, order, soon())
    assert (delivery.request_id, delivery.cost_micro, delivery.course.remaining_micro) == (
        "job",
        3 * CREDIT,
        7 * CREDIT,
    )
    assert [picture.seed for picture in delivery.pictures] == [7, 8]
    for picture in delivery.pictures:
        assert await house.pictures.read(picture.token) == picture.png
        pixels = decode_png(picture.png)
        assert (pixels.width, pixels.height) == (picture.width, picture.height) == (16, 8)
        assert read_infotext(picture.png) == infotext(order, picture.seed)
    assert await house.balance() == 7 * CREDIT
    job = await house.job("job")
    assert (job.status, job.attempt, job.request) == ("done", 1, {"prompt": "a house", "seed": 7})


async def test_a_delivery_tells_where_its_time_went_and_is_noted_once(house: House) -> None:
    noted: list[tuple[str, Delivery]] = []
    queue = Queue(per_account=64, total=64, room=1)
    service = house.service(FakeEngine(0.4), queue, lambda order, delivery: noted.append((order.id, delivery)))
    first, second = await asyncio.gather(
        *(service.paint(house.caller, an_order(name), soon()) for name in ("first", "second"))
    )
    assert noted == [("first", first), ("second", second)]
    for delivery in (first, second):
        assert (delivery.course.phases.denoise, delivery.course.company) == (0.4, 1)
        assert delivery.course.phases.write > 0
    assert second.course.phases.queue - first.course.phases.queue > 0.2, "the second waited for the first"


async def test_the_engines_own_waiting_is_part_of_the_queue(house: House) -> None:
    class BusyEngine(FakeEngine):
        async def paint(self, request: Paint) -> AsyncIterator[Event]:
            async for event in super().paint(request):
                if isinstance(event, Finished):
                    yield replace(event, timings=Timings(queue=7, encode=1, denoise=2, decode=3, company=2.5))
                else:
                    yield event

    delivery = await house.service(BusyEngine()).paint(house.caller, an_order("job"), soon())
    phases = delivery.course.phases
    assert 7 <= phases.queue < 8
    assert (phases.encode, phases.denoise, phases.decode, delivery.course.company) == (1, 2, 3, 2.5)


async def test_what_is_not_delivered_is_not_noted(house: House) -> None:
    noted: list[Delivery] = []
    service = house.service(FailingEngine(PaintingFailed("not a number")), note=lambda _, one: noted.append(one))
    with pytest.raises(PaintingFailed):
        await service.paint(house.caller, an_order("job"), soon())
    assert noted == []


async def test_equal_requests_give_equal_pictures_under_different_names(house: House) -> None:
    service = house.service(FakeEngine())
    one, other = [await service.paint(house.caller, an_order(name), soon()) for name in ("one", "other")]
    assert one.pictures[0].png == other.pictures[0].png
    assert one.pictures[0].token != other.pictures[0].token


async def test_the_job_and_its_reservation_are_there_before_the_work(house: House) -> None:
    engine = SlowEngine(60)
    task = asyncio.create_task(house.service(engine).paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    assert (await house.job("job")).status == "running"
    assert await house.balance() == 9 * CREDIT
    task.cancel()
    await asyncio.wait([task])


async def test_an_account_without_limit_pays_nothing_and_is_written_down(house: House) -> None:
    keys = Keys(house.database)
    await Accounts(house.database).create("owner", unlimited=True)
    owner = await keys.authenticate(await keys.create("owner"))
    delivery = await house.service(FakeEngine()).paint(owner, an_order("job"), soon())
    assert (delivery.cost_micro, delivery.course.remaining_micro) == (CREDIT, UNLIMITED_MICRO)
    assert await house.count("job", "capture") == 1


async def test_who_cannot_pay_is_refused_before_any_work(house: House) -> None:
    engine = SlowEngine(0)
    with pytest.raises(InsufficientCredits, match=r"10 credits.*11 credits"):
        await house.service(engine).paint(house.caller, an_order("job", cost_micro=11 * CREDIT), soon())
    assert engine.begun == 0
    assert await house.balance() == 10 * CREDIT


async def test_fifty_parallel_requests_on_a_balance_for_ten(house: House) -> None:
    service = house.service(FakeEngine())
    attempts = (service.paint(house.caller, an_order(f"job {number}"), soon()) for number in range(50))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, Delivery) for outcome in outcomes) == 10
    assert sum(isinstance(outcome, InsufficientCredits) for outcome in outcomes) == 40
    assert await house.balance() == 0
    assert len(house.files()) == 10


@pytest.mark.parametrize(
    "error", [BadRequest("not like this"), ServiceUnavailable("no weights"), PaintingFailed("not a number")]
)
async def test_what_the_engine_cannot_paint_is_told_and_not_charged(house: House, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await house.service(FailingEngine(error)).paint(house.caller, an_order("job", samples=2), soon())
    await house.nothing_is_left_of("job", "failed")
    assert (await house.job("job")).problem == str(error)


async def test_an_engine_that_loses_an_image_has_failed(house: House) -> None:
    with pytest.raises(PaintingFailed, match="1 of 2 images"):
        await house.service(FailingEngine(None)).paint(house.caller, an_order("job", samples=2), soon())
    await house.nothing_is_left_of("job", "failed")


async def test_an_unforeseen_error_is_not_charged_and_not_hidden(house: House) -> None:
    with pytest.raises(ZeroDivisionError):
        await house.service(FailingEngine(ZeroDivisionError("secret"))).paint(house.caller, an_order("job"), soon())
    await house.nothing_is_left_of("job", "failed")
    assert (await house.job("job")).problem == "Unforeseen: ZeroDivisionError"


async def test_a_caller_who_goes_away_stops_the_work_and_pays_nothing(house: House) -> None:
    engine = SlowEngine(60)
    task = asyncio.create_task(house.service(engine).paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.running == set()
    await house.nothing_is_left_of("job", "cancelled")


@pytest.mark.parametrize("pause", [0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064])
async def test_whenever_a_caller_goes_away_the_books_are_in_order(house: House, pause: float) -> None:
    tasks = [
        asyncio.create_task(house.service(FakeEngine(0.002)).paint(house.caller, an_order(f"job {number}"), soon()))
        for number in range(5)
    ]
    await asyncio.sleep(pause)
    for task in tasks:
        for _ in range(3):  # as servers do, again and again until it is gone
            task.cancel()
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, Delivery | asyncio.CancelledError) for outcome in outcomes)
    await until(lambda: len(asyncio.all_tasks()) == 1)
    charged = sum([await house.count(f"job {number}", "capture") for number in range(5)])
    assert charged >= sum(isinstance(outcome, Delivery) for outcome in outcomes)
    assert await house.balance() == (10 - charged) * CREDIT
    assert len(house.files()) == charged
    open_jobs = select(jobs.c.id).where(jobs.c.status.in_(("queued", "running")))
    assert await house.database.read(lambda connection: connection.scalars(open_jobs).all()) == []


async def test_who_goes_away_while_waiting_never_reaches_the_engine(house: House) -> None:
    engine = SlowEngine(60)
    service = house.service(engine, Queue(per_account=64, total=64, room=1))
    painting = asyncio.create_task(service.paint(house.caller, an_order("painting"), soon()))
    await until(lambda: engine.running)
    waiting = asyncio.create_task(service.paint(house.caller, an_order("waiting"), soon()))
    await asyncio.sleep(0.05)
    for task in (waiting, painting):
        task.cancel()
        await asyncio.wait([task])
    assert engine.begun == 1
    await house.nothing_is_left_of("waiting", "cancelled")


@pytest.mark.parametrize("room", [1, 32])
async def test_a_request_beyond_its_deadline_is_stopped_and_not_charged(house: House, room: int) -> None:
    engine = SlowEngine(60)
    service = house.service(engine, Queue(per_account=64, total=64, room=room))
    first, second = (service.paint(house.caller, an_order(name), soon(0.2)) for name in ("first", "second"))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded, DeadlineExceeded]
    assert engine.running == set()
    await house.nothing_is_left_of("first", "failed")
    await house.nothing_is_left_of("second", "failed")


async def test_too_many_requests_are_refused_without_a_trace(house: House) -> None:
    engine = SlowEngine(60)
    service = house.service(engine, Queue(per_account=2, total=64))
    tasks = [asyncio.create_task(service.paint(house.caller, an_order(f"job {n}"), soon())) for n in range(2)]
    await until(lambda: len(engine.running) == 2)
    with pytest.raises(QueueFull):
        await service.paint(house.caller, an_order("one too many"), soon())
    assert len(await house.database.read(lambda connection: connection.scalars(select(jobs.c.id)).all())) == 2
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_an_account_is_held_to_its_allowance(house: House) -> None:
    caller = replace(house.caller, allowance=Allowance(running=1, waiting=2))
    engine = SlowEngine(60)
    service = house.service(engine)
    tasks = [asyncio.create_task(service.paint(caller, an_order(f"job {n}"), soon())) for n in range(2)]
    await until(lambda: engine.running)
    await asyncio.sleep(0.05)
    assert engine.begun == 1
    with pytest.raises(QueueFull, match="no more than 2"):
        await service.paint(caller, an_order("one too many"), soon())
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_balance_is_read_and_nothing_else(house: House) -> None:
    assert await house.service(FakeEngine()).balance(house.caller) == 10 * CREDIT


async def test_an_id_is_used_once(house: House) -> None:
    engine = SlowEngine(0.05)
    service = house.service(engine)
    first = asyncio.create_task(service.paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    with pytest.raises(Conflict, match="job"):
        await service.paint(house.caller, an_order("job"), soon())
    assert isinstance(await first, Delivery)
    with pytest.raises(Conflict, match="job"):
        await service.paint(house.caller, an_order("job"), soon())
    assert await house.balance() == 9 * CREDIT


async def test_pictures_that_cannot_be_stored_are_not_charged(house: House) -> None:
    (house.folder / "pictures").write_text("a file where the folder should be")
    with pytest.raises(ServiceUnavailable, match="cannot be stored"):
        await house.service(FakeEngine()).paint(house.caller, an_order("job", samples=2), soon())
    assert (await house.job("job")).status == "failed"
    assert await house.balance() == 10 * CREDIT


async def test_pictures_that_cannot_be_deleted_are_deleted_later(house: House) -> None:
    service = house.service(FailingEngine(PaintingFailed("not a number")))
    (house.folder / "pictures").write_text("a file where the folder should be")
    with pytest.raises(PaintingFailed, match="not a number"):
        await service.paint(house.caller, an_order("job"), soon())
    (house.folder / "pictures").unlink()
    await service.start()
    await house.nothing_is_left_of("job", "failed")
    await service.stop()


async def test_a_server_that_stops_releases_what_it_works_on(house: House) -> None:
    engine = SlowEngine(60)
    service = house.service(engine)
    await service.start()
    task = asyncio.create_task(service.paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    await service.stop()
    with pytest.raises(ServiceUnavailable, match="stopping"):
        await task
    await house.nothing_is_left_of("job", "cancelled")


async def test_jobs_of_a_server_that_lives_are_left_alone(house: House, database_url: str) -> None:
    engine, elsewhere = SlowEngine(0.3), await open_database(database_url)
    here = house.service(engine)
    await here.start()
    task = asyncio.create_task(here.paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    other = Service(elsewhere, house.pictures, FakeEngine(), Queue(64, 64), Presence(house.folder / "servers"))
    await other.start()
    assert (await house.job("job")).status == "running"
    assert isinstance(await task, Delivery)
    await other.stop()
    await here.stop()
    await elsewhere.close()


async def test_a_server_that_was_silent_for_too_long_loses_its_jobs_and_charges_nothing(house: House) -> None:
    engine = SlowEngine(0.3)
    task = asyncio.create_task(house.service(engine).paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    silent = update(jobs).values(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    await house.database.write(lambda connection: connection.execute(silent))
    other = replace(house, presence=Presence(house.folder / "servers")).service(FakeEngine())
    await other.start()
    with pytest.raises(ServiceUnavailable, match="away for too long"):
        await task
    await other.stop()
    assert (await house.job("job")).status == "failed"
    assert await house.balance() == 10 * CREDIT
    assert house.files() == []


async def test_a_release_that_the_database_missed_is_made_up_for(house: House) -> None:
    engine = SlowEngine(60)
    service = house.service(engine)
    task = asyncio.create_task(service.paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    await house.database.write(lambda connection: connection.execute(text("ALTER TABLE jobs RENAME TO mislaid")))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await house.database.write(lambda connection: connection.execute(text("ALTER TABLE mislaid RENAME TO jobs")))
    assert await house.balance() == 9 * CREDIT
    await service.start()
    await house.nothing_is_left_of("job", "cancelled")
    await service.stop()


SERVER = """
import asyncio, sys
from pathlib import Path
from gesso.accounts.keys import Keys
from gesso.engine.fake import FakeEngine
from gesso.jobs.queue import Queue
from gesso.jobs.service import Service
from gesso.storage.database import open_database
from gesso.storage.objects import PictureFolder
from gesso.storage.presence import Presence
from tests.jobs.orders import an_order

async def start(database, folder, seconds):
    pictures, presence = PictureFolder(folder / "pictures"), Presence(folder / "servers")
    service = Service(database, pictures, FakeEngine(seconds), Queue(64, 64), presence)
    await service.start()
    return service

async def serve(url, folder, key):
    database = await open_database(url)
    caller = await Keys(database).authenticate(key)
    service, slow = await start(database, folder, 0.01), await start(database, folder, 60)
    deadline = asyncio.get_running_loop().time() + 60
    async def client(name):
        number = 0
        while True:
            number += 1
            delivery = await service.paint(caller, an_order(f"{name} {number}", cost_micro=1000), deadline)
            print(delivery.pictures[0].token, flush=True)
    await asyncio.gather(slow.paint(caller, an_order("endless"), deadline), *map(client, range(4)))

asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
"""


async def test_after_a_kill_nothing_is_reserved_nothing_lost_and_nothing_charged_twice(
    house: House, database_url: str
) -> None:
    key = await Keys(house.database).create("acme")
    command = [sys.executable, "-c", SERVER, database_url, str(house.folder), key]
    delivered = await asyncio.to_thread(_deliver_and_kill, command, 8)
    service = house.service(FakeEngine())
    await service.start()
    statuses, tokens = await house.database.read(
        lambda connection: (
            list(connection.scalars(select(jobs.c.status))),
            set(connection.scalars(select(pictures.c.token))),
        )
    )
    done = statuses.count("done")
    assert set(statuses) == {"done", "failed"}
    assert (await house.job("endless")).status == "failed"
    assert len(tokens) == done >= len(delivered)
    assert delivered <= tokens
    assert {path.stem for path in house.files()} == tokens
    assert await house.balance() == 10 * CREDIT - 1000 * done
    await service.stop()


def _deliver_and_kill(command: list[str], deliveries: int) -> set[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        delivered = {server.stdout.readline().strip() for _ in range(deliveries)}
        server.send_signal(signal.SIGKILL)
        return delivered | {line.strip() for line in server.stdout if len(line) == 49}
