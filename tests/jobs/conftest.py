"""The databases of the storage tests, and a server's jobs around one."""

from pathlib import Path

import pytest

from gesso.accounts.accounts import Accounts
from gesso.accounts.keys import Keys
from gesso.storage.database import Database
from gesso.storage.objects import PictureFolder
from gesso.storage.presence import Presence
from tests.jobs.house import CREDIT, House
from tests.storage.conftest import database, database_url, empty_database, postgresql_server

__all__ = ["database", "database_url", "empty_database", "postgresql_server"]


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> House:
    await Accounts(database).create("acme", 10 * CREDIT)
    keys = Keys(database)
    caller = await keys.authenticate(await keys.create("acme"))
    return House(tmp_path, database, PictureFolder(tmp_path / "pictures"), caller, Presence(tmp_path / "servers"))
