"""Pictures as files: bytes under unguessable names. Knows nothing of what they show or whose they are."""

import asyncio
import re
import secrets
from pathlib import Path
from typing import Final

from gesso.errors import NotFound, ServiceUnavailable
from gesso.storage.flusher import flush_folder

TOKEN_BYTES: Final = 24
TOKEN_FORM: Final = re.compile(rf"[0-9a-f]{{{2 * TOKEN_BYTES}}}")


def new_token() -> str:
    """A name of 192 random bits: whoever has it may read the picture."""
    return secrets.token_hex(TOKEN_BYTES)


class PictureFolder:
    """PNG files in a local folder, each named by its token."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, token: str, data: bytes) -> None:
        """Keep these bytes: they are there, whole, when this returns, and safe from a power cut after `flush`.

        Raises ServiceUnavailable where there is no room, or no permission, for them.
        """
        path = self._path(token)
        try:
            await asyncio.to_thread(_write, path, data)
        except OSError as error:
            raise ServiceUnavailable(f"The picture cannot be stored: {error.strerror}.", retry_after=60) from error

    async def read(self, token: str) -> bytes:
        """Raises NotFound for anything that is not the token of a picture."""
        path = self._path(token)
        try:
            return await asyncio.to_thread(path.read_bytes)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound("There is no such picture.") from None

    async def delete(self, token: str) -> None:
        """Forget a picture, if there is one. Raises ServiceUnavailable where the system does not let us."""
        path = self._path(token)
        try:
            await asyncio.to_thread(_delete, path)
        except OSError as error:
            raise ServiceUnavailable(f"The picture cannot be deleted: {error.strerror}.", retry_after=60) from error

    async def clean(self, token: str) -> None:
        """Forget what a server that was killed left half written under this name; what is whole stays."""
        await asyncio.to_thread(_delete_parts, self._path(token))

    def flush(self) -> None:
        """Everything that was put so far is on the disk when this returns."""
        flush_folder(self._folder)

    def _path(self, token: str) -> Path:
        """Nothing but a well-formed token ever becomes part of a path."""
        if not TOKEN_FORM.fullmatch(token):
            raise NotFound("There is no such picture.")
        return self._folder / token[:2] / f"{token}.png"


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    _delete_parts(path)


def _delete_parts(path: Path) -> None:
    for part in path.parent.glob(f"{path.stem}.*.part"):
        part.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """All of `data` appears under `path` at once, or nothing does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{secrets.token_hex(4)}.part")  # whoever is to write it again finds another's there
    try:
        with partial.open("xb") as file:
            file.write(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
