"""A database in a file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gesso.storage.database import Database, open_database


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'gesso.db'}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url)
    yield database
    await database.close()
