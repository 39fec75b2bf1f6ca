"""Transactions that share a commit, and what becomes of each when one of them, or all, fail."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, insert, text
from sqlalchemy.exc import IntegrityError

from gesso.errors import ServiceUnavailable
from gesso.storage import sqlite
from gesso.storage.database import Database, open_database
from gesso.storage.tables import accounts, api_keys
from gesso.storage.writer import AT_ONCE
from tests.storage.conftest import SQLITE

Work = Callable[[Connection], Any]

MOMENT = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
LARGE = 10_000_000


class Abrupt(BaseException):
    """What nobody catches by chance."""


def an_account(name: str) -> dict[str, object]:
    """A row."""
    credit = {"unlimited": False, "balance_micro": 0, "free_micro": 0}
    return {"name": name, "role": "member", "share": 1, "created": MOMENT} | credit


def adding(name: str) -> Callable[[Connection], str]:
    """Writes an account, and returns its name."""

    def add(connection: Connection) -> str:
        connection.execute(insert(accounts).values(an_account(name)))
        return name

    return add


def failing(name: str, error: BaseException) -> Work:
    """Raises after it has written."""

    def fail(connection: Connection) -> None:
        adding(name)(connection)
        raise error

    return fail


def seen(url: str) -> list[str]:
    """Names of accounts, as any other program sees them."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        names = list(connection.scalars(text("SELECT name FROM accounts ORDER BY id")))
    engine.dispose()
    return names


@contextmanager
def counted(happening: str) -> Iterator[list[Connection]]:
    """A list that grows with every `begin` or `commit` of any database."""
    happened: list[Connection] = []

    def note(connection: Connection) -> None:
        happened.append(connection)

    event.listen(Engine, happening, note)
    try:
        yield happened
    finally:
        event.remove(Engine, happening, note)


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[asyncio.Task[Any]]:
    """Within this, one transaction keeps the others waiting."""
    inside, go = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        inside.set()
        assert go.wait(20)

    holding = asyncio.create_task(database.write(hold))
    assert await asyncio.to_thread(inside.wait, 20)
    try:
        yield holding
    finally:
        go.set()
        await asyncio.wait([holding])


async def asked(database: Database, works: list[Work]) -> list[asyncio.Task[Any]]:
    """Returns when all of them wait for their turn."""
    tasks = [asyncio.create_task(database.write(work)) for work in works]
    await asyncio.sleep(0)
    return tasks


async def together(database: Database, *works: Work) -> list[Any]:
    """What these return or raise, in one commit."""
    async with held(database):
        tasks = await asked(database, list(works))
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_transactions_that_wait_are_committed_together_and_in_their_order(
    database: Database, database_url: str
) -> None:
    names = [f"account {number}" for number in range(20)]
    with counted("commit") as commits:
        assert await together(database, *map(adding, names)) == names
        assert len(commits) <= 2
    assert seen(database_url) == names


async def test_however_many_wait_all_are_written_in_their_order(database: Database, database_url: str) -> None:
    names = [f"account {number}" for number in range(3 * AT_ONCE)]
    with counted("commit") as commits:
        assert await together(database, *map(adding, names)) == names
        assert 3 <= len(commits) <= 5
    assert seen(database_url) == names


async def test_each_sees_what_the_one_before_it_wrote(database: Database, database_url: str) -> None:
    count = text("SELECT count(*) FROM accounts")
    assert await together(
        database, *(lambda connection: adding(str(connection.scalar(count)))(connection) for _ in range(10))
    ) == [str(number) for number in range(10)]
    assert seen(database_url) == [str(number) for number in range(10)]


@pytest.mark.parametrize("error", [RuntimeError("halfway"), Abrupt("at once"), ServiceUnavailable("not now")])
async def test_one_that_raises_is_undone_alone_and_hears_it(
    database: Database, database_url: str, error: BaseException
) -> None:
    with counted("commit") as commits:
        outcomes = await together(database, adding("before"), failing("gone", error), adding("after"))
        assert len(commits) == 1
    assert outcomes == ["before", error, "after"]
    assert seen(database_url) == ["before", "after"]


async def test_one_that_the_database_refuses_is_undone_alone(database: Database, database_url: str) -> None:
    def add_twice(connection: Connection) -> None:
        adding("gone")(connection)
        adding("before")(connection)

    before, refused, after = await together(database, adding("before"), add_twice, adding("after"))
    assert (before, type(refused), after) == ("before", IntegrityError, "after")
    assert seen(database_url) == ["before", "after"]


async def test_nobody_is_told_before_the_commit_and_then_everybody_can_see_it(
    database: Database, database_url: str
) -> None:
    all_wait, inside, go = threading.Event(), threading.Event(), threading.Event()

    def stay(_: Connection) -> None:
        inside.set()
        assert go.wait(20)

    _, first, _ = tasks = await asked(database, [lambda _: all_wait.wait(20), adding("first"), stay])
    all_wait.set()
    assert await asyncio.to_thread(inside.wait, 20)
    await asyncio.sleep(0.05)
    assert not first.done()
    assert seen(database_url) == []
    go.set()
    assert await first == "first"
    assert seen(database_url) == ["first"]
    await asyncio.wait(tasks)


@SQLITE
async def test_a_commit_that_fails_is_told_to_all_who_are_in_it(database: Database, database_url: str) -> None:
    orphan = insert(api_keys).values(account_id=7, digest="0", prefix="SG_", rotated=False, created=MOMENT)

    def add_orphan(connection: Connection) -> None:
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))  # until the commit
        connection.execute(orphan)

    await database.write(adding("kept"))
    error = RuntimeError("halfway")
    outcomes = await together(database, adding("gone"), failing("gone too", error), add_orphan, adding("not either"))
    assert [type(outcome) for outcome in outcomes] == [IntegrityError, RuntimeError, IntegrityError, IntegrityError]
    assert await database.write(adding("next")) == "next"
    assert seen(database_url) == ["kept", "next"]


async def test_who_goes_away_before_its_turn_is_not_written(database: Database, database_url: str) -> None:
    async with held(database):
        first, gone, last = await asked(database, list(map(adding, ("first", "gone", "last"))))
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert (await first, await last) == ("first", "last")
    assert seen(database_url) == ["first", "last"]


async def test_who_goes_away_does_not_spare_the_others_a_failure(database: Database, database_url: str) -> None:
    async with held(database):
        gone, failed = await asked(database, [adding("gone"), failing("failed", RuntimeError("halfway"))])
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    with pytest.raises(RuntimeError, match="halfway"):
        await failed
    assert await database.write(adding("next")) == "next"
    assert seen(database_url) == ["next"]


@SQLITE
async def test_a_file_that_another_program_holds_fails_all_who_wait_at_once_and_then_goes_on(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_MS", 500)
    impatient = await open_database(database_url)
    with closing(sqlite3.connect(tmp_path / "gesso.db", isolation_level=None)) as other, counted("begin") as attempts:
        other.execute("BEGIN IMMEDIATE")
        tasks = await asked(impatient, [adding(f"gone {number}") for number in range(20)])
        gone = tasks.pop()
        gone.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, ServiceUnavailable)
            assert "cannot be used: database is locked" in outcome.sentence
        assert gone.cancelled()
        assert len(attempts) < 10
        other.execute("ROLLBACK")
    assert await impatient.write(adding("next")) == "next"
    assert seen(database_url) == ["next"]
    await impatient.close()


def fill(connection: Connection) -> None:
    """A row for which there is no room."""
    connection.execute(text(f"PRAGMA max_page_count = {connection.scalar(text('PRAGMA page_count'))}"))
    adding("." * LARGE)(connection)


def fill_by_many(connection: Connection) -> None:
    """Rows for which there is no room."""
    connection.execute(text(f"PRAGMA max_page_count = {connection.scalar(text('PRAGMA page_count'))}"))
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
    columns = "name, role, unlimited, balance_micro, free_micro, share, created"
    rows = "SELECT 'full ' || i, 'member', 0, 0, 0, 1, '2026-11-01 12:30:00' FROM n"
    connection.execute(text(f"{many} INSERT INTO accounts ({columns}) {rows}"))


def make_room(connection: Connection) -> None:
    connection.execute(text("PRAGMA max_page_count = 1000000"))


@SQLITE
@pytest.mark.parametrize("too_much", [fill, fill_by_many])
async def test_a_full_disk_loses_nothing_that_was_told_and_does_not_stop_the_writer(
    database: Database, database_url: str, too_much: Work
) -> None:
    await database.write(adding("kept"))
    outcomes = await together(database, adding("before"), too_much, adding("after"))
    assert isinstance(outcomes[1], ServiceUnavailable)
    assert "database or disk is full" in outcomes[1].sentence
    told = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert all(isinstance(outcome, str | ServiceUnavailable) for outcome in outcomes)
    assert seen(database_url) == ["kept", *told]
    await database.write(make_room)
    assert await database.write(adding("next")) == "next"
    assert seen(database_url) == ["kept", *told, "next"]


async def test_closing_waits_for_what_was_asked_before(database: Database, database_url: str) -> None:
    names = [f"account {number}" for number in range(2 * AT_ONCE)]
    async with held(database) as holding:
        tasks = await asked(database, list(map(adding, names)))
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
    await closing
    assert seen(database_url) == names
    assert holding.done()
    assert await asyncio.gather(*tasks) == names


async def test_what_comes_after_the_end_is_refused(database: Database) -> None:
    await database.close()
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(lambda connection: None)
