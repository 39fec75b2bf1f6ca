"""Databases of the tests' own: a file, and one in a PostgreSQL server that the tests start."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gesso.storage.database import Database, open_database
from tests.postgresql import Postgresql, postgresql

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is said of SQLite alone."""

EMPTY = "empty"

_numbers = itertools.count()


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


async def _make_empty(url: str) -> None:
    await (await open_database(url)).close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once and copied, as bringing tables up to date takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    asyncio.run(_make_empty(url_of(path)))
    return path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    """It has a database that is empty but for its tables."""
    with postgresql("-c fsync=off") as server:
        asyncio.run(_make_empty(server.create(EMPTY)))
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database that is empty but for its tables."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("empty_database"), tmp_path / "gesso.db")
        yield url_of(tmp_path / "gesso.db")
        return
    server: Postgresql = request.getfixturevalue("postgresql_server")
    name = f"test{next(_numbers)}"
    yield server.create(name, template=EMPTY)
    server.drop(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url)
    yield database
    await database.close()
