import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from gesso.errors import ServiceUnavailable, SettingsError
from gesso.storage.database import Database, open_database
from gesso.storage.tables import accounts, api_keys, metadata

MOMENT = datetime(2026, 11, 1, 12, 30, tzinfo=timezone(timedelta(hours=-8)))


START = """
import asyncio, sys
from gesso.storage.database import open_database

async def start():
    await (await open_database(sys.argv[1])).close()

asyncio.run(start())
assert "alembic" not in sys.modules
"""


def checks(connection: Connection) -> dict[str, set[tuple[str | None, str]]]:
    inspector = inspect(connection)
    return {
        table: {(check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)}
        for table in metadata.tables
    }


async def names(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list(await connection.scalars(select(accounts.c.name).order_by(accounts.c.id)))


def named(name: str) -> dict[str, object]:
    return {"name": name, "unlimited": False, "balance_micro": 0, "created": MOMENT}


@pytest.fixture
def fresh(tmp_path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    metadata.create_all(engine)
    return engine


async def test_the_revisions_lead_to_the_tables_as_they_are_declared(database: Database, fresh: Engine) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []
        migrated = await connection.run_sync(checks)
    with fresh.connect() as declared:
        assert migrated == checks(declared)
    fresh.dispose()


async def test_a_start_on_tables_that_are_up_to_date_needs_no_migration(database: Database, database_url: str) -> None:
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", START, database_url], check=True)


async def test_a_database_is_made_once_and_found_again(database: Database, database_url: str) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(accounts).values(named("kept")))
    again = await open_database(database_url)
    assert await names(again) == ["kept"]
    await again.close()


async def test_servers_that_start_at_once_make_one_database(database_url: str) -> None:
    databases = await asyncio.gather(*(open_database(database_url) for _ in range(8)))
    for database in databases:
        assert await names(database) == []
        await database.close()


async def test_an_exception_undoes_the_whole_transaction(database: Database) -> None:
    async def fail_halfway() -> None:
        async with database.writing() as connection:
            await connection.execute(insert(accounts).values(named("gone")))
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        await fail_halfway()
    assert await names(database) == []


async def test_a_cancelled_transaction_is_undone_and_the_next_one_goes_through(database: Database) -> None:
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with database.writing() as connection:
            await connection.execute(insert(accounts).values(named("gone")))
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(write_and_wait())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    async with database.writing() as connection:
        await connection.execute(insert(accounts).values(named("next")))
    assert await names(database) == ["next"]


async def test_transactions_of_several_processes_do_not_lose_what_the_others_wrote(
    database: Database, database_url: str
) -> None:
    other = await open_database(database_url)
    async with database.writing() as connection:
        await connection.execute(insert(accounts).values(named("counter")))

    async def count_up(through: Database) -> None:
        async with through.writing() as connection:
            seen = (await connection.execute(select(accounts.c.balance_micro))).scalar_one()
            await connection.execute(update(accounts).values(balance_micro=seen + 1))

    await asyncio.gather(*(count_up(through) for through in [database, other] * 10))
    async with database.reading() as connection:
        assert await connection.scalar(select(accounts.c.balance_micro)) == 20
    await other.close()


async def test_commits_reach_the_disk_and_foreign_keys_hold(database: Database) -> None:
    async with database.reading() as connection:
        pragmas = [
            await connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]
    orphan = {"account_id": 7, "digest": "0", "prefix": "SG_", "created": MOMENT}
    with pytest.raises(IntegrityError):
        async with database.writing() as connection:
            await connection.execute(insert(api_keys).values(orphan))


async def test_an_instant_comes_back_as_it_was(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(insert(accounts).values(named("dated")))
        created = (await connection.execute(select(accounts.c.created))).scalar_one()
    assert (created, created.tzinfo) == (MOMENT, UTC)


async def test_a_database_of_a_newer_version_is_refused(database: Database, database_url: str) -> None:
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match=r"another version of Gesso.*9999"):
        await open_database(database_url)


@pytest.mark.parametrize(
    "url", ["nonsense", "mystery://host/name", "sqlite+aiosqlite://", "sqlite+aiosqlite:////dev/null/x.db"]
)
async def test_a_url_that_cannot_be_right_is_a_setting_that_cannot_be_right(url: str) -> None:
    with pytest.raises(SettingsError, match="database"):
        await open_database(url)


async def test_a_file_that_is_no_database_is_told_as_an_outage(tmp_path: Path) -> None:
    (tmp_path / "gesso.db").write_text("something else entirely, and longer than a header of a database file is" * 20)
    with pytest.raises(ServiceUnavailable, match="cannot be used: file is not a database"):
        await open_database(f"sqlite+aiosqlite:///{tmp_path / 'gesso.db'}")
