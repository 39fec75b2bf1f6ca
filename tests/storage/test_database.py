import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, func, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from gesso.errors import ServiceUnavailable, SettingsError
from gesso.storage.database import Database, open_database
from gesso.storage.migrations import upgrade
from gesso.storage.tables import accounts, api_keys, jobs, ledger_entries, metadata, pictures
from tests.postgresql import Postgresql
from tests.storage.conftest import SQLITE

MOMENT = datetime(2026, 11, 1, 12, 30, tzinfo=timezone(timedelta(hours=-8)))


START = """
import asyncio, sys
from gesso.storage.database import open_database

async def start():
    await (await open_database(sys.argv[1])).close()

asyncio.run(start())
assert "alembic" not in sys.modules
"""

WRITE_AND_DIE = """
import asyncio, os, signal, sys
from sqlalchemy import text
from gesso.storage.database import open_database

async def write():
    database = await open_database(sys.argv[1])
    columns = "name, role, unlimited, balance_micro, free_micro, share, created"
    query = f"INSERT INTO accounts ({{columns}}) VALUES ('kept', 'member', false, 0, 0, 1, '2026-11-01 20:30')"
    await database.write(lambda connection: connection.execute(text(query)))
    {end}

asyncio.run(write())
"""


def checks(connection: Connection) -> dict[str, set[tuple[str | None, str]]]:
    inspector = inspect(connection)
    return {
        table: {(check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)}
        for table in metadata.tables
    }


async def names(database: Database) -> list[str]:
    query = select(accounts.c.name).order_by(accounts.c.id)
    return await database.read(lambda connection: list(connection.scalars(query)))


def named(name: str) -> dict[str, object]:
    credit = {"unlimited": False, "balance_micro": 0, "free_micro": 0}
    return {"name": name, "role": "member", "share": 1, "created": MOMENT} | credit


def adding(name: str) -> Callable[[Connection], None]:
    def add(connection: Connection) -> None:
        connection.execute(insert(accounts).values(named(name)))

    return add


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


class Flushes:
    """How long a file was each time that it was flushed to the disk."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self._path = path
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._flush)

    def _flush(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        self._fsync(descriptor)
        if os.path.samestat(os.fstat(descriptor), self._path.stat()):
            self.sizes.append(size)


def _new_on(request: pytest.FixtureRequest) -> str:
    server: Postgresql = request.getfixturevalue("postgresql_server")
    server.drop("new")
    return server.create("new")


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database without any table."""
    return f"sqlite:///{tmp_path / 'new.db'}" if request.param == "sqlite" else _new_on(request)


@pytest.fixture
def fresh(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The tables as they are declared, in the same kind of database."""
    is_file = database_url.startswith("sqlite")
    url = f"sqlite:///{tmp_path / 'fresh.db'}" if is_file else _new_on(request).replace("ql:", "ql+psycopg:")
    engine = create_engine(url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


async def test_the_revisions_lead_to_the_tables_as_they_are_declared(database: Database, fresh: Engine) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    assert await database.read(differences) == []
    migrated = await database.read(checks)
    with fresh.connect() as declared:
        assert migrated == checks(declared)


def fill_first_revision(connection: Connection) -> None:
    """The tables as they first were, with a row in each."""
    upgrade(connection, "0001")
    account = "accounts (id, name, unlimited, balance_micro, created)"
    columns = "id, account_id, key_id, slug, request, cost_micro, status, attempt, owner, lease_until, created, updated"
    job = f"jobs ({columns})"
    for row in (
        f"{account} VALUES (1, 'owner', true, -5, '2026-11-01')",
        f"{account} VALUES (2, 'acme', false, 7, '2026-11-01')",
        "api_keys (id, account_id, digest, prefix, created) VALUES (1, 2, 'd', 'SG_', '2026-11-01')",
        f"{job} VALUES ('j', 2, 1, 's', '{{}}', 3, 'done', 1, 'o', '2026-11-01', '2026-11-01', '2026-11-01')",
        "pictures (token, job_id, image, seed, width, height) VALUES ('t', 'j', 0, 7, 8, 8)",
        "ledger_entries (id, account_id, kind, amount_micro, created) VALUES (1, 2, 'grant', 7, '2026-11-01')",
    ):
        connection.execute(text(f"INSERT INTO {row}"))


async def test_what_was_there_stays_when_tables_are_brought_up_to_date(new_url: str) -> None:
    engine = create_engine(new_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        fill_first_revision(connection)
    engine.dispose()
    database = await open_database(new_url)
    columns = accounts.c.name, accounts.c.role, accounts.c.balance_micro, accounts.c.free_micro, accounts.c.share
    query = select(*columns).order_by(accounts.c.id)
    rows = await database.read(lambda connection: [tuple(row) for row in connection.execute(query)])
    assert rows == [("owner", "owner", -5, 0, 1), ("acme", "member", 7, 0, 1)]
    for table in (api_keys, jobs, pictures, ledger_entries):
        count = select(func.count()).select_from(table)
        assert await database.read(lambda connection: connection.scalar(count)) == 1  # noqa: B023
    orphan = insert(api_keys).values(account_id=77, digest="0", prefix="SG_", rotated=False, created=MOMENT)
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: connection.execute(orphan))
    await database.close()


async def test_a_start_on_tables_that_are_up_to_date_needs_no_migration(database: Database, database_url: str) -> None:
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", START, database_url], check=True)


async def test_a_database_is_made_once_and_found_again(database: Database, database_url: str) -> None:
    await database.write(adding("kept"))
    again = await open_database(database_url)
    assert await names(again) == ["kept"]
    await again.close()


async def test_servers_that_start_at_once_make_one_database(new_url: str) -> None:
    databases = await asyncio.gather(*(open_database(new_url) for _ in range(8)))
    for database in databases:
        assert await names(database) == []
        await database.close()


async def test_an_exception_undoes_the_whole_transaction(database: Database) -> None:
    def fail_halfway(connection: Connection) -> None:
        adding("gone")(connection)
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        await database.write(fail_halfway)
    assert await names(database) == []


async def test_a_transaction_that_has_begun_is_written_even_if_cancelled_and_the_next_one_goes_through(
    database: Database,
) -> None:
    inside, go = threading.Event(), threading.Event()

    def write_and_wait(connection: Connection) -> None:
        adding("begun")(connection)
        inside.set()
        assert go.wait(20)
        adding("ended")(connection)

    task = asyncio.create_task(database.write(write_and_wait))
    await until(inside.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await database.write(adding("next"))
    assert await names(database) == ["begun", "ended", "next"]


async def test_transactions_of_several_processes_do_not_lose_what_the_others_wrote(
    database: Database, database_url: str
) -> None:
    other = await open_database(database_url)
    await database.write(adding("counter"))
    count = select(accounts.c.balance_micro)

    def count_up(connection: Connection) -> None:
        seen = connection.execute(count).scalar_one()
        connection.execute(update(accounts).values(balance_micro=seen + 1))

    await asyncio.gather(*(through.write(count_up) for through in [database, other] * 10))
    assert await database.read(lambda connection: connection.scalar(count)) == 20
    await other.close()


@SQLITE
async def test_commits_reach_the_disk_a_moment_later_and_foreign_keys_hold(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, flushed = tmp_path / "gesso.db-wal", Flushes(tmp_path / "gesso.db-wal", monkeypatch)
    await database.write(adding("kept"))
    size = journal.stat().st_size
    assert size > 0
    await until(lambda: size in flushed.sizes)

    pragmas = [text(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert await database.read(lambda connection: list(map(connection.scalar, pragmas))) == ["wal", 1, 1]
    orphan = insert(api_keys).values(account_id=7, digest="0", prefix="SG_", rotated=False, created=MOMENT)
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: connection.execute(orphan))


@SQLITE
async def test_a_database_that_is_closed_is_on_the_disk_after_what_must_be_there_first(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gesso.storage.flusher.MOMENT", 3600)
    journal, flushed = tmp_path / "gesso.db-wal", Flushes(tmp_path / "gesso.db-wal", monkeypatch)
    database = await open_database(database_url, lambda: flushed.sizes.append(-1))
    await database.write(adding("kept"))
    size = journal.stat().st_size
    assert flushed.sizes == []
    await database.close()
    assert flushed.sizes == [-1, size]


async def test_a_database_behind_a_link_reaches_the_disk_too(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(empty_database, tmp_path / "gesso.db")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "linked.db").symlink_to(tmp_path / "gesso.db")
    journal, flushed = tmp_path / "gesso.db-wal", Flushes(tmp_path / "gesso.db-wal", monkeypatch)
    linked = await open_database(f"sqlite:///{tmp_path / 'link' / 'linked.db'}")
    await linked.write(adding("kept"))
    size = journal.stat().st_size
    await linked.close()
    assert size in flushed.sizes


@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
async def test_what_was_written_is_there_after_a_process_that_never_closed_it(database_url: str, end: str) -> None:
    command = [sys.executable, "-c", WRITE_AND_DIE.format(end=end), database_url]
    died = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert (died.returncode, died.stderr) == (1 if "exit" in end else -signal.SIGKILL, "")
    database = await open_database(database_url)
    assert await names(database) == ["kept"]
    await database.close()


async def test_an_instant_comes_back_as_it_was(database: Database) -> None:
    await database.write(adding("dated"))
    created = await database.read(lambda connection: connection.execute(select(accounts.c.created)).scalar_one())
    assert (created, created.tzinfo) == (MOMENT, UTC)


async def test_a_database_of_a_newer_version_is_refused(database: Database, database_url: str) -> None:
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    await database.write(lambda connection: connection.execute(newer))
    with pytest.raises(SettingsError, match=r"another version of Gesso.*9999"):
        await open_database(database_url)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mystery://host/name",
        "mysql://host/name",
        "sqlite://",
        "sqlite:////dev/null/x.db",
        "sqlite:///:memory:",
        "postgresql://host:port/name",
        "postgresql://127.0.0.1:1/name?nonsense=1",
    ],
)
async def test_a_url_that_cannot_be_right_is_a_setting_that_cannot_be_right(url: str) -> None:
    with pytest.raises(SettingsError, match="database"):
        await open_database(url)


async def test_a_file_that_is_no_database_is_told_as_an_outage(tmp_path: Path) -> None:
    (tmp_path / "gesso.db").write_text("something else entirely, and longer than a header of a database file is" * 20)
    with pytest.raises(ServiceUnavailable, match="cannot be used: file is not a database"):
        await open_database(f"sqlite:///{tmp_path / 'gesso.db'}")
