"""One server for all tests that leave it as it was."""

from collections.abc import Iterator

import pytest

from tests.api.house import House
from tests.storage.conftest import database_url, empty_database, postgresql_server

__all__ = ["database_url", "empty_database", "postgresql_server"]


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")) as house:
        yield house
