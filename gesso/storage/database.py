"""The database: connections that read, transactions that write, and tables brought up to date at the start.

SQLite is written to by one at a time and as durably as it can: when a transaction is over, it is on disk (WAL,
synchronous=FULL). All that is SQLite's own is in `_make_file` and `_tune_sqlite`.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, event, inspect, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, InvalidRequestError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gesso.errors import ServiceUnavailable, SettingsError
from gesso.storage.tables import REVISION

LOCK_TIMEOUT_MS: Final = 10_000
"""How long to wait for another process (a command line) to finish writing."""


class Database:
    """One database; safe to share between the tasks of one event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writers = engine.execution_options(writes=True)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one consistent state. Raises ServiceUnavailable where the database cannot be used."""
        with _outage_told():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end of the block and rolled back by an exception.

        Writers take turns, so what is read in the block is still so when it is written. Raises ServiceUnavailable.
        """
        with _outage_told():
            async with self._turn, self._writers.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Give all connections back."""
        await self._engine.dispose()


async def open_database(url: str) -> Database:
    """The database at this SQLAlchemy URL, made if it is not there, with its tables at the newest revision.

    Raises SettingsError for a URL that means nothing and a database that a newer Gesso has changed,
    ServiceUnavailable where it cannot be used.
    """
    engine = _connect(url)
    if engine.dialect.name == "sqlite":
        await asyncio.to_thread(_make_file, engine.url)
        _tune_sqlite(engine)
    database = Database(engine)
    try:
        async with database.writing() as connection:
            await connection.run_sync(_upgrade)
    except BaseException:
        await database.close()
        raise
    return database


def _connect(url: str) -> AsyncEngine:
    try:
        return create_async_engine(url)
    except (ArgumentError, InvalidRequestError, ModuleNotFoundError) as error:
        raise SettingsError(f"setting database_url: {error}") from None


def _make_file(url: URL) -> None:
    """The SQLite file, keeping a write-ahead log."""
    if not url.database:
        raise SettingsError(f"setting database_url = {str(url)!r}: SQLite needs a file")
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {folder} of the database cannot be made: {error.strerror}") from None
    with _outage_told(), closing(sqlite3.connect(url.database)) as connection:
        _keep_log(connection)


def _keep_log(connection: sqlite3.Connection) -> None:
    """Everywhere else SQLite waits for other processes by itself; for this change it has to be asked again."""
    give_up = time.monotonic() + LOCK_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _tune_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's module begins transactions late; `begun` does it instead
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        # a writer that begins as a reader has to give up when another process writes before it does
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _upgrade(connection: Connection) -> None:
    if _revision(connection) == REVISION:
        return
    # here, because most starts do without it and it takes longer to import than they may
    from alembic.util import CommandError

    from gesso.storage.migrations import upgrade

    try:
        upgrade(connection)
    except CommandError as error:
        raise SettingsError(f"The database was made by another version of Gesso: {error}") from None


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@contextmanager
def _outage_told() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError):
        raise  # what was asked of it was wrong
    except DBAPIError as error:
        raise ServiceUnavailable(f"The database cannot be used: {error.orig}", retry_after=5) from error
    except sqlite3.Error as error:
        raise ServiceUnavailable(f"The database cannot be used: {error}", retry_after=5) from error
    except PoolTimeoutError as error:
        raise ServiceUnavailable("The database does not keep up with the requests.", retry_after=5) from error
