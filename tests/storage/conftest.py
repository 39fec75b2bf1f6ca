"""A database in a file of its own."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gesso.storage.database import Database, open_database


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


async def _make_empty(path: Path) -> None:
    await (await open_database(url_of(path))).close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once and copied, as bringing tables up to date takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    asyncio.run(_make_empty(path))
    return path


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return url_of(tmp_path / "gesso.db")


@pytest.fixture
async def database(empty_database: Path, tmp_path: Path, database_url: str) -> AsyncIterator[Database]:
    shutil.copyfile(empty_database, tmp_path / "gesso.db")
    database = await open_database(database_url)
    yield database
    await database.close()
