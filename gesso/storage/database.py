"""The database: connections that read, connections that write, and tables brought up to date at the start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection


class Database:
    """One database; safe to share between tasks."""

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one consistent state."""
        raise NotImplementedError
        yield

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end of the block and rolled back by an exception. Writers take turns."""
        raise NotImplementedError
        yield

    async def close(self) -> None:
        """Give all connections back."""
        raise NotImplementedError


async def open_database(url: str) -> Database:
    """The database at this SQLAlchemy URL, made if it is not there, with its tables at the newest revision."""
    raise NotImplementedError
