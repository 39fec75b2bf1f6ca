"""The database: what reads and what writes, as functions of a connection, and tables brought up to date at the start.

Functions are synchronous and run in threads of this module's: what they cost is not waiting but many small steps, which
an event loop would take one by one. What is a database's own is in `sqlite` and `postgresql`.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

import structlog
from sqlalchemy import URL, Connection, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    PendingRollbackError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gesso.errors import ServiceUnavailable, SettingsError
from gesso.storage import postgresql, sqlite
from gesso.storage.access import Access, Step
from gesso.storage.flusher import Flusher
from gesso.storage.tables import REVISION
from gesso.storage.writer import Writer

log = structlog.get_logger()

T = TypeVar("T")

READERS: Final = 4


class Database:
    """One database, as all tasks of an event loop share it. `name`: its URL, without a password."""

    def __init__(self, access: Access, flush_first: Step) -> None:
        self.name = _shown(access.reading.url)
        self._engine = access.reading
        self._flusher = Flusher((flush_first, *access.flushes))
        self._writer = Writer(access.writing, self._flusher.soon)
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


async def open_database(url: str, flush_first: Step = lambda: None) -> Database:
    """The database at this SQLAlchemy URL, made if it is not there, with its tables at the newest revision.

    `flush_first`: brings to the disk what must not be missing when the database says that it is there.

    Raises SettingsError for a URL that means nothing and a database that a newer Gesso has changed,
    ServiceUnavailable where it cannot be used.
    """
    access = await asyncio.to_thread(_connect, url)
    try:
        with _outage_told():
            await asyncio.to_thread(_bring_up_to_date, access)
    except ProgrammingError as error:
        access.reading.dispose()
        reason = str(error.orig).strip().partition("\n")[0]
        raise SettingsError(f"setting database_url: the tables cannot be made there: {reason}") from None
    except BaseException:
        access.reading.dispose()
        raise
    return Database(access, flush_first)


def _connect(text: str) -> Access:
    try:
        url = make_url(text)
        with _outage_told():
            match url.drivername:
                case "sqlite" | "sqlite+pysqlite":
                    return sqlite.connect(url)
                case "postgresql" | "postgres" | "postgresql+psycopg":
                    return postgresql.connect(url)
    except (ArgumentError, InvalidRequestError, ValueError) as error:
        raise SettingsError(f"setting database_url: {error}") from None
    raise SettingsError(
        f"setting database_url = {_shown(url)!r}: sqlite:////path/to/file can be used, and "
        "postgresql://user:password@host/name"
    )


def _shown(url: URL) -> str:
    """Without what may be secret, in the password or behind a question mark."""
    return url.set(query={}).render_as_string(hide_password=True)


def _bring_up_to_date(access: Access) -> None:
    with access.reading.connect() as connection:
        if _revision(connection) == REVISION:
            return
    with access.upgrading.begin() as connection:
        _upgrade(connection)
    access.upgrading.dispose()


def _upgrade(connection: Connection) -> None:
    if _revision(connection) == REVISION:  # meanwhile, by another server
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


def _told(error: Exception) -> str:
    """What SQLite says of itself is for everybody; PostgreSQL's names its host and user, which is for the log."""
    said = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(said, sqlite3.Error):
        return f": {said}"
    log.error("the database cannot be used", reason=str(said).strip())
    return ""


@contextmanager
def _outage_told() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError):
        raise  # what was asked of it was wrong
    except (DBAPIError, sqlite3.Error, PendingRollbackError) as error:
        raise ServiceUnavailable(f"The database cannot be used{_told(error)}.", retry_after=5) from error
    except PoolTimeoutError as error:
        raise ServiceUnavailable("The database does not keep up with the requests.", retry_after=5) from error
