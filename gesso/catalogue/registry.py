"""What `gesso models` has noted: a JSON file beside the checkpoints, laid over the catalogue that ships.

Where several machines share a folder of models they share this, too.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from gesso.catalogue.forms import RegistryForm, read_registry
from gesso.errors import SettingsError

NAME = "registry.json"


@contextmanager
def changing(folder: Path) -> Iterator[Callable[[RegistryForm], None]]:
    """The way to replace the registry in this folder; whoever else changes it waits until the block is over.

    Readers see the former one whole, or the new one. Raises SettingsError where the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{NAME}.lock"):
            yield lambda registry: _replace(folder, registry)
    except OSError as error:
        raise SettingsError(f"{folder / NAME} cannot be written: {error.strerror}") from None


def registry_in(folder: Path) -> RegistryForm:
    """The registry of this folder of models; an empty one if nothing was noted yet."""
    path = folder / NAME
    return read_registry(path) if path.exists() else RegistryForm()


def _replace(folder: Path, registry: RegistryForm) -> None:
    handle, unfinished = tempfile.mkstemp(prefix=f".{NAME}", dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(registry.model_dump_json(indent=2, exclude_defaults=True) + "\n")
    Path(unfinished).chmod(0o644)
    os.replace(unfinished, folder / NAME)
