"""What a file is known by: the SHA-256 of its bytes, which takes seconds for a checkpoint."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from gesso.errors import ServiceUnavailable

PIECE = 8 * 2**20


def sha256_of(path: Path, on_progress: Callable[[int, int], None]) -> str:
    """In hexadecimal. `on_progress` hears how many bytes are read, and of how many.

    Raises ServiceUnavailable for a file that cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
                done += len(piece)
                on_progress(done, size)
    except OSError as error:
        raise ServiceUnavailable(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()
