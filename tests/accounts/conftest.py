"""The databases of the storage tests."""

from tests.storage.conftest import database, database_url, empty_database, postgresql_server

__all__ = ["database", "database_url", "empty_database", "postgresql_server"]
