"""The database: what reads and what writes, as functions of a connection, and tables brought up to date at the start.

Functions are synchronous and run in threads of this module's: what they cost is not waiting but many small steps, which
an event loop would take one by one. All that is SQLite's own is in `_make_file`, `_tune_sqlite` and `writer`.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, InvalidRequestError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gesso.errors import ServiceUnavailable, SettingsError
from gesso.storage.flusher import Flusher, flush_file
from gesso.storage.tables import REVISION
from gesso.storage.writer import Writer

T = TypeVar("T")

LOCK_TIMEOUT_MS: Final = 10_000
"""How long to wait for another process (a command line) to finish writing."""
READERS: Final = 4


class Database:
    """One database, as all tasks of an event loop share it."""

    def __init__(self, engine: Engine, flusher: Flusher) -> None:
        self._engine = engine
        self._flusher = flusher
        self._writer = Writer(engine, flusher.soon)
        self._readers = ThreadPoolExecutor(READERS, "database-reader")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` makes of one consistent state. Raises ServiceUnavailable where the database cannot be used."""
        with _outage_told():
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns when all that it did is committed; it is undone by an exception.

        Writers take turns, so what one reads is still so when it writes. A cancelled call may have been written.
        Raises ServiceUnavailable.
        """
        with _outage_told():
            outcome: T = await asyncio.wrap_future(self._writer.submit(work))
            return outcome

    async def close(self) -> None:
        """Returns when everything that was written is on the disk."""
        await asyncio.to_thread(self._close)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    def _close(self) -> None:
        self._writer.close()
        self._flusher.close()
        self._readers.shutdown()
        self._engine.dispose()


async def open_database(url: str, flush_first: Callable[[], None] = lambda: None) -> Database:
    """The database at this SQLAlchemy URL, made if it is not there, with its tables at the newest revision.

    `flush_first`: brings to the disk what must not be missing when the database says that it is there.

    Raises SettingsError for a URL that means nothing and a database that a newer Gesso has changed,
    ServiceUnavailable where it cannot be used.
    """
    engine = _connect(url)
    path = await asyncio.to_thread(_make_file, engine.url)
    _tune_sqlite(engine)
    journal = path.with_name(f"{path.name}-wal")
    database = Database(engine, Flusher((flush_first, partial(flush_file, journal))))
    try:
        await database.write(_upgrade)
    except BaseException:
        await database.close()
        raise
    return database


def _connect(url: str) -> Engine:
    try:
        engine = create_engine(url)
    except (ArgumentError, InvalidRequestError, ModuleNotFoundError) as error:
        raise SettingsError(f"setting database_url: {error}") from None
    if (engine.dialect.name, engine.dialect.driver) != ("sqlite", "pysqlite"):
        raise SettingsError(f"setting database_url = {url!r}: SQLite alone is served yet, as sqlite:////path/to/file")
    return engine


def _make_file(url: URL) -> Path:
    """The SQLite file, keeping a write-ahead log."""
    if not url.database or url.database == ":memory:":
        raise SettingsError(f"setting database_url = {str(url)!r}: SQLite needs a file")
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {folder} of the database cannot be made: {error.strerror}") from None
    with _outage_told(), closing(sqlite3.connect(url.database)) as connection:
        _keep_log(connection)
    return Path(url.database).resolve()  # SQLite keeps the log beside the file that a link leads to


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


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's module begins transactions late; `begun` does it instead
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
        cursor.execute("PRAGMA synchronous = NORMAL")  # no flush at a commit: `flusher` sees to that
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
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
