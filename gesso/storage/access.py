"""How one database is read and written, and what brings its commits to the disk."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Access:
    """A transaction of `reading` sees one state; one of `writing` begins when no other writes any more. In `upgrading`,
    tables may be made anew that others refer to.

    `flushes`: brings what was committed to the disk, where the database does not do so itself.
    """

    reading: Engine
    writing: Engine
    upgrading: Engine
    flushes: tuple[Step, ...] = ()
