"""What is kept for how long, and what is deleted then."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from gesso.accounts.statement import discrepancies
from gesso.engine.fake import FakeEngine
from gesso.errors import NotFound
from gesso.jobs.books import Books
from gesso.jobs.retries import Retry
from gesso.jobs.service import Retention
from gesso.storage.tables import idempotency_keys, jobs, ledger_entries, pictures
from tests.jobs.house import House, SlowEngine, soon, until
from tests.jobs.orders import an_order

DAY = timedelta(days=1)


async def age(house: House, job_id: str, days: float) -> None:
    """As if it had ended so long ago."""
    past = datetime.now(UTC) - timedelta(days=days)
    await house.database.write(
        lambda connection: connection.execute(update(jobs).where(jobs.c.id == job_id).values(updated=past))
    )


async def rows(house: House, table: object) -> int:
    query = select(func.count()).select_from(table)  # type: ignore[arg-type]
    return await house.database.read(lambda connection: connection.execute(query).scalar_one())


@pytest.fixture
async def three(house: House) -> list[str]:
    """Tokens of three jobs, that ended now, two and four days ago."""
    service = house.service(FakeEngine())
    tokens = []
    for job, days in (("new", 0.0), ("older", 2), ("oldest", 4)):
        delivery = await service.paint(house.caller, an_order(job), soon(), Retry(job, "digest"))
        tokens.append(delivery.pictures[0].token)
        await age(house, job, days)
    return tokens


def books(house: House) -> Books:
    return Books(house.database, house.pictures, house.presence)


async def test_by_default_everything_is_kept(house: House, three: list[str]) -> None:
    assert await books(house).sweep(None, None) == 0
    assert {path.stem for path in house.files()} == set(three)
    assert await rows(house, jobs) == 3


async def test_pictures_and_jobs_go_when_their_time_is_over_and_the_ledger_stays(
    house: House, three: list[str]
) -> None:
    balance, entries = await house.balance(), await rows(house, ledger_entries)
    assert await books(house).sweep(DAY, 3 * DAY) == 2
    assert [path.stem for path in house.files()] == three[:1]
    assert (await rows(house, pictures), await rows(house, jobs)) == (1, 2)
    assert (await house.balance(), await rows(house, ledger_entries)) == (balance, entries)
    assert await house.database.read(discrepancies) == []
    with pytest.raises(NotFound):
        await books(house).delivery("older")
    assert await books(house).sweep(DAY, 3 * DAY) == 0


async def test_a_job_takes_its_pictures_with_it(house: House, three: list[str]) -> None:
    assert await books(house).sweep(None, 3 * DAY) == 1
    assert {path.stem for path in house.files()} == set(three[:2])
    assert await rows(house, jobs) == 2


async def test_however_many_there_are_all_go(house: House, three: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.jobs.books.AT_ONCE", 1)
    assert await books(house).sweep(DAY, None) == 2
    assert [path.stem for path in house.files()] == three[:1]


async def test_names_of_requests_are_kept_for_a_day(house: House, three: list[str]) -> None:
    past = datetime.now(UTC) - timedelta(hours=25)
    old = update(idempotency_keys).where(idempotency_keys.c.name == "oldest").values(created=past)
    await house.database.write(lambda connection: connection.execute(old))
    await books(house).sweep(None, None)
    assert await rows(house, idempotency_keys) == 2


async def test_what_is_still_worked_on_stays(house: House) -> None:
    engine = SlowEngine(0.5)
    task = asyncio.create_task(house.service(engine).paint(house.caller, an_order("job"), soon()))
    await until(lambda: engine.running)
    await age(house, "job", 9)
    assert await books(house).sweep(DAY, DAY) == 0
    assert (await task).pictures


async def test_a_server_sweeps_by_itself(house: House, three: list[str]) -> None:
    service = house.service(FakeEngine(), retention=Retention(DAY, None))
    await service.start()
    await until(lambda: [path.stem for path in house.files()] == three[:1])
    await service.stop()
