"""Which servers of this machine are still there.

Each holds a locked file, and the system lets go of the lock when the server ends, even when it is killed. Says nothing
of servers on other machines.
"""

import fcntl
import os
import secrets
from pathlib import Path

from gesso.errors import SettingsError


class Presence:
    """This server's own sign of life in `folder`, from `enter` to `leave`, and a look at the others'."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self.name = secrets.token_hex(8)

    def enter(self) -> None:
        """From here on this server counts as present. Raises SettingsError where the folder cannot be written to."""
        unseen = self._folder / f"{self.name}.new"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(unseen, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise SettingsError(f"setting data_dir: {self._folder} cannot be written to: {error.strerror}") from None
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        unseen.rename(self._path(self.name))  # so that the others never see it unlocked

    def leave(self) -> None:
        """The server is gone, and everything of its own is in order."""
        self.forget(self.name)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def gone(self) -> list[str]:
        """Names of servers of this machine that ended without leaving."""
        return [path.stem for path in self._folder.glob("*.lock") if path.stem != self.name and not _is_held(path)]

    def forget(self, name: str) -> None:
        """What the server left behind is in order now."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


def _is_held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True  # it left, or was forgotten, while we looked
    except BlockingIOError:
        return True
    return False
