"""Named tensors in safetensors files: opened, and read one by one when asked for. Nothing else is opened."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from torch import Tensor

from gesso.errors import ServiceUnavailable

PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x04")
"""What torch's own files begin with: a zip of pickles, or a bare pickle."""


class Tensors:
    """The tensors of one file, or of several that share them out. `path` is how they are called in complaints."""

    def __init__(self, path: str, files: Sequence[Path]) -> None:
        self.path = path
        opened = [_opened(file) for file in files]
        self._files = {name: file for file in opened for name in file.keys()}  # noqa: SIM118
        self.names = frozenset(self._files)
        self.metadata: Mapping[str, str] = opened[0].metadata() or {}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """By name, from the headers alone."""
        return {name: self.shape(name) for name in self._files}

    def shape(self, name: str) -> tuple[int, ...]:
        """From the header alone."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        """The tensor, as the file has it; its pages come from the disk when they are looked at."""
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor


def open_file(path: Path) -> Tensors:
    """The tensors of a single file.

    Raises:
        ServiceUnavailable: it is missing, a pickle, no safetensors file, or cut short.
    """
    return Tensors(str(path), [path])


def open_in_folder(folder: Path, stem: str) -> Tensors:
    """The tensors of a part of a diffusers folder: in full precision where it is there, in one file or in shards.

    Raises ServiceUnavailable as `open_file` does.
    """
    for variant in ("", ".fp16", ".bf16"):
        if (single := folder / f"{stem}{variant}.safetensors").is_file():
            return Tensors(str(folder), [single])
        if (index := folder / f"{stem}.safetensors.index{variant}.json").is_file():
            return Tensors(str(folder), _shards(index))
    if pickles := sorted(file.name for file in folder.glob("*") if file.suffix in PICKLES):
        raise _refusal(folder / pickles[0])
    raise ServiceUnavailable(f"{folder} has no {stem}.safetensors in it")


def read_json(path: Path) -> dict[str, Any]:
    """A table that a folder keeps beside its tensors; raises ServiceUnavailable when it cannot be read."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ServiceUnavailable(f"{path} cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise ServiceUnavailable(f"{path} is not a table of settings")
    return table


def _shards(index: Path) -> list[Path]:
    shared = read_json(index).get("weight_map")
    if not isinstance(shared, dict) or not shared:
        raise ServiceUnavailable(f"{index} does not say which file has which weight")
    names = sorted({str(name) for name in shared.values()})
    if away := [name for name in names if Path(name).name != name]:
        raise ServiceUnavailable(f"{index} names {away[0]!r}, which does not lie beside it")
    return [index.parent / name for name in names]


def _opened(path: Path) -> Any:
    if path.suffix.lower() in PICKLES or _begins_as_pickle(path):
        raise _refusal(path)
    try:
        return cast(Any, safe_open(str(path), framework="pt"))
    except FileNotFoundError:
        raise ServiceUnavailable(f"the file {path} is not there") from None
    except (SafetensorError, OSError) as error:
        raise ServiceUnavailable(f"{path} is not a whole safetensors file: {error}") from None


def _begins_as_pickle(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(PICKLED)
    except OSError:
        return False  # opening it says what is wrong


def _refusal(path: Path) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{path} is a pickle, which runs whatever code it was made to run when it is read: only .safetensors files are "
        "read; most publishers have one beside it"
    )
