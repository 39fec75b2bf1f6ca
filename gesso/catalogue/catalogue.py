"""Everything that can be asked of this server, in one frozen object: endpoints, checkpoints, styles.

Made once at the start from the files that ship with the package and, where the settings name them, the owner's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gesso.catalogue.entries import Checkpoint, Endpoint, Style
from gesso.errors import NotFound


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Entries by slug, id and name."""

    endpoints: Mapping[str, Endpoint]
    checkpoints: Mapping[str, Checkpoint]
    styles: Mapping[str, Style]
    originals: Mapping[str, str]
    """Binding (`slug` or `slug/role`) -> id of the checkpoint that the documented service paints with there."""

    def endpoint(self, slug: str) -> Endpoint:
        """Raises NotFound, naming the slugs there are."""
        try:
            return self.endpoints[slug]
        except KeyError:
            raise NotFound(f"There is no endpoint {slug!r}; there are: {', '.join(self.endpoints)}.") from None


def load_catalogue(own: Path | None = None, styles: Path | None = None) -> Catalogue:
    """The shipped catalogue with the owner's changes (TOML) and the owner's styles (JSON).

    Raises SettingsError naming the file, the key and what would be right.
    """
    raise NotImplementedError
