"""PostgreSQL: for several servers on one database, and for those who keep theirs there already.

Writers take turns here as they do on SQLite, those of all servers together, by a lock that each transaction takes first
and its end gives back. So nothing that is said of one database has to be thought through for the other, and no
transaction ever fails for another's sake. Turns are cheap, because a server's transactions share them (`writer`).
"""

from typing import Final

from sqlalchemy import URL, Connection, create_engine, event

from gesso.storage.access import Access

WRITERS_LOCK: Final = 0x6765_7373_6F
"""`gesso`, as a number: locks of this kind are known by numbers alone."""

NETWORK: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""A network that has become silent is told from a server that thinks after about ten seconds."""

PATIENCE: Final = "10s"
"""How long to wait for another server's turn to end; and how long a turn may lie idle, its server being stuck, before
PostgreSQL ends it."""


def connect(url: URL) -> Access:
    """The database at this URL; no connection is made yet."""
    options = f"-c lock_timeout={PATIENCE} -c idle_in_transaction_session_timeout={PATIENCE}"
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"application_name": "gesso", "options": options, **NETWORK},
        pool_pre_ping=True,  # a server that was started again is none that cannot be used
    )
    event.listen(engine, "begin", _begun)
    reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    # A writer sees what was committed before its turn, not before it asked for one.
    writing = engine.execution_options(writes=True)
    return Access(reading, writing, upgrading=writing)


def _begun(connection: Connection) -> None:
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")
