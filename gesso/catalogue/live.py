"""The catalogue of a running server: read anew when what `gesso models` has noted changes."""

from collections.abc import Callable
from pathlib import Path

import structlog

from gesso.catalogue.catalogue import Catalogue
from gesso.errors import SettingsError

log = structlog.get_logger()


class LiveCatalogue:
    """Reads with `read`, again whenever `watched` is another file than it was; keeps the last that could be read."""

    def __init__(self, read: Callable[[], Catalogue], watched: Path) -> None:
        """Raises SettingsError for a catalogue that cannot be read even now."""
        self._read = read
        self._watched = watched
        self._seen = self._mark()
        self._catalogue = read()

    @property
    def current(self) -> Catalogue:
        """As of now; one request should ask once."""
        if (mark := self._mark()) != self._seen:
            self._seen = mark
            try:
                self._catalogue = self._read()
            except SettingsError as error:
                log.error("the catalogue stays as it was", problem=error.sentence)
        return self._catalogue

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            status = self._watched.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
