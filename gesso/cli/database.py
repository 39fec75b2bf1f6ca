"""How a command works on the database: what it changes holds in a running server at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gesso import app as house
from gesso.settings import read_settings
from gesso.storage.database import Database

Result = TypeVar("Result")


def with_database(work: Callable[[Database], Awaitable[Result]]) -> Result:
    """What `work` makes of the database that the settings name."""

    async def run() -> Result:
        async with house.opened_database(read_settings()) as database:
            return await work(database)

    return asyncio.run(run())
