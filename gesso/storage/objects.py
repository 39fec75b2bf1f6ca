"""Pictures as files: bytes under unguessable names. Knows nothing of what they show or whose they are."""

from pathlib import Path


class PictureFolder:
    """Pictures in a local folder. A token is a name of 192 random bits: whoever has it may read the picture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, data: bytes) -> str:
        """The token of these bytes, which are on disk, whole, when this returns."""
        raise NotImplementedError

    async def read(self, token: str) -> bytes:
        """Raises NotFound for anything that is not a token of ours."""
        raise NotImplementedError

    async def delete(self, token: str) -> None:
        """Forget a picture; unknown tokens are forgotten already."""
        raise NotImplementedError
