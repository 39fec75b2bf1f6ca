"""SQLite: a file beside the pictures, for a server alone."""

import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from gesso.errors import SettingsError
from gesso.storage.access import Access
from gesso.storage.flusher import flush_file

LOCK_TIMEOUT_MS: Final = 10_000
"""How long to wait for another process (a command line) to finish writing."""


def connect(url: URL) -> Access:
    """The database in a file, which is made where there is none.

    Raises SettingsError where no file can be there, sqlite3.Error where it is not a database's.
    """
    if not url.database or url.database == ":memory:":
        raise SettingsError(f"setting database_url = {str(url)!r}: SQLite needs a file")
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {folder} of the database cannot be made: {error.strerror}") from None
    with closing(sqlite3.connect(url.database)) as connection:
        _keep_log(connection)
    engine = create_engine(url)
    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begun)
    path = Path(url.database).resolve()  # SQLite keeps the log beside the file that a link leads to
    log = path.with_name(f"{path.name}-wal")
    return Access(engine, engine.execution_options(writes=True), _upgrading(url), (partial(flush_file, log),))


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


def _upgrading(url: URL) -> Engine:
    """Alembic changes a table by copying it. As long as foreign keys hold, one that others refer to cannot be dropped;
    they are looked through before the commit."""
    engine = create_engine(url, poolclass=NullPool)
    event.listen(engine, "connect", _connected)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = OFF"))
    event.listen(engine, "begin", _begun)
    event.listen(engine, "commit", _look_through)
    return engine.execution_options(writes=True)


def _look_through(connection: Connection) -> None:
    if orphans := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise sqlite3.IntegrityError(f"{len(orphans)} rows refer to what is not there")


def _connected(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # Python's module begins transactions late; `_begun` does it instead
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous = NORMAL")  # no flush at a commit: `flusher` sees to that
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begun(connection: Connection) -> None:
    # a writer that begins as a reader has to give up when another process writes before it does
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
