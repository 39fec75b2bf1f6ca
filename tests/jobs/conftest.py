"""The database of the storage tests."""

from tests.storage.conftest import database, database_url, empty_database

__all__ = ["database", "database_url", "empty_database"]
