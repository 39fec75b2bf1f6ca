"""What a file or folder is: a checkpoint or a LoRA, and of which family a LoRA is."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from gesso.catalogue.catalogue import Catalogue
from gesso.errors import BadRequest, ServiceUnavailable
from gesso.sdxl.architecture import SDXL_BASE, Architecture

if TYPE_CHECKING:
    from gesso.sdxl.lora import Lora

Found: TypeAlias = Union[Architecture, "Lora"]
STANDARD = "sdxl"
"""The family of SDXL itself, whose shape is known without a member of it."""


def what_is_at(path: Path) -> Found:
    """Raises ServiceUnavailable where that is neither a checkpoint nor a LoRA."""
    from gesso.sdxl.lora import open_lora
    from gesso.sdxl.recognition import is_lora
    from gesso.sdxl.tensors import open_file
    from gesso.sdxl.weights import open_weights

    if path.is_file() and is_lora(open_file(path).names):
        return open_lora(str(path))
    return open_weights(str(path)).architecture


def family_of(lora: "Lora", catalogue: Catalogue, models_dir: Path, family: str | None = None) -> str:
    """The family whose members the LoRA fits: this one, or the first of all; whether it does is told by the bases that
    are here.

    Raises BadRequest for a family that there is not, and ServiceUnavailable where the LoRA fits none.
    """
    from gesso.sdxl.fitting import require_fit

    families = {entry.family for entry in catalogue.checkpoints.values()} | {STANDARD}
    if family is not None and family not in families:
        raise BadRequest(f"there is no family {family!r}; there are: {', '.join(sorted(families))}")
    refusals = []
    for name, shape in _shapes(catalogue, models_dir):
        if family in (None, name):
            try:
                require_fit(lora, shape)
                return name
            except ServiceUnavailable as error:
                refusals.append(error)
    if refusals:
        raise refusals[0]
    assert family is not None
    return family


def _shapes(catalogue: Catalogue, models_dir: Path) -> Iterator[tuple[str, Architecture]]:
    """By family: SDXL's, and those of the bases that are here and can be read."""
    from gesso.sdxl.weights import open_weights

    yield STANDARD, SDXL_BASE
    for entry in catalogue.checkpoints.values():
        path = entry.path(models_dir)
        if entry.kind == "base" and path.exists():
            try:
                yield entry.family, open_weights(str(path)).architecture
            except ServiceUnavailable:
                continue  # what is wrong with it is for `gesso models verify` to say
