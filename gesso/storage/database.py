"""The database: connections that read, transactions that write, and tables brought up to date at the start.

SQLite is written to by one at a time and as durably as it can: when a transaction is over, it is on disk (WAL,
synchronous=FULL). All that is SQLite's own is in `_tune_sqlite`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
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
    database = Database(_connect(url))
    try:
        async with database.writing() as connection:
            await connection.run_sync(_upgrade)
    except BaseException:
        await database.close()
        raise
    return database


def _connect(url: str) -> AsyncEngine:
    try:
        parsed = make_url(url)
        engine = create_async_engine(parsed)
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(f"setting database_url: {error}") from None
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database:
            raise SettingsError(f"setting database_url = {url!r}: SQLite needs a file")
        _make_folder(Path(parsed.database).parent)
        _tune_sqlite(engine)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {folder} of the database cannot be made: {error.strerror}") from None


def _tune_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's module begins transactions late; `begun` does it instead
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
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
    except PoolTimeoutError as error:
        raise ServiceUnavailable("The database does not keep up with the requests.", retry_after=5) from error
