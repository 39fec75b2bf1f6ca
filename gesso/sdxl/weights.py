"""A checkpoint on disk, in any of the forms that people have: its networks' weights, by the names of their modules."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import Architecture
from gesso.sdxl.bare import bare_unet
from gesso.sdxl.eight_bit import EIGHT_BITS, scale_name
from gesso.sdxl.extras import is_extra
from gesso.sdxl.folder import STEMS, Part, read_folder
from gesso.sdxl.layout import (
    CLIP_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    clip_name,
    folder_clip_name,
    folder_vae_name,
    open_clip_name,
    open_clip_prefix,
    unet_name,
    vae_name,
)
from gesso.sdxl.lora import Change, StrongLora
from gesso.sdxl.operations import in_eight_bits
from gesso.sdxl.precision import Precision
from gesso.sdxl.recognition import recognise
from gesso.sdxl.tensors import Tensors, open_file, open_in_folder

Place = tuple[str, int | None]
"""Where a weight lies: the tensor's name, and which third of it the weight is; None for the whole."""
Strong = tuple[Mapping[str, Change], float]
"""What is added to a network's weights, by their names, and how strongly."""
Note = Callable[[int], None]


def unnoted(_: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a part's weights are: all the tensors whose names begin so, and the place of each weight of the module."""

    tensors: Tensors
    prefix: str
    place: Callable[[str], Place]

    @property
    def size(self) -> int:
        """How many numbers lie here."""
        return sum(math.prod(self.tensors.shape(name)) for name in self._names())

    def require(self, module: nn.Module) -> None:
        """Raises ServiceUnavailable unless a network's weights are here, each of them and no others."""
        self._check_names({self.place(name)[0] for name in _stored(module)})

    def fill(self, module: nn.Module, dtype: torch.dtype, changes: Sequence[Strong], note: Note) -> None:
        """Give a network its weights, changed; what comes of it is rounded once, to `dtype` or 8 bits with a scale."""
        self.require(module)
        state: dict[str, Tensor] = {}
        for name, tensor in _stored(module).items():
            weight = self._read(*self.place(name), tensor.shape)
            for changed, strength in changes:
                if name in changed:
                    weight = weight.float() + changed[name].read(strength, tensor.shape)
            arrived = _in_eight_bits(name, weight) if tensor.dtype == EIGHT_BITS else {name: weight.to(dtype)}
            state |= arrived
            note(sum(one.nbytes for one in arrived.values()))
        module.load_state_dict(state, strict=True, assign=True)

    def _check_names(self, wanted: set[str]) -> None:
        held = self._names()
        if missing := sorted(wanted - held):
            raise ServiceUnavailable(
                f"{self.tensors.path} lacks {len(missing)} weights that it should have, first {missing[0]}"
            )
        refuse_strangers(self.tensors.path, held - wanted)

    def _names(self) -> set[str]:
        return {name for name in self.tensors.names if name.startswith(self.prefix) and not is_extra(name)}

    def _read(self, source: str, third: int | None, shape: torch.Size) -> Tensor:
        tensor = self.tensors.read(source)
        if third is not None:
            tensor = tensor.chunk(3)[third]
        if source.endswith("text_projection"):
            tensor = tensor.T.contiguous()
        if tensor.dim() == 4 and len(shape) == 2:
            tensor = tensor[:, :, 0, 0]
        if tensor.shape != shape:
            raise ServiceUnavailable(f"{self.tensors.path}: {source} is {list(tensor.shape)}, not {list(shape)}")
        return tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint, open: its shape, and where its parts are. Weights are read when a network is filled with them."""

    architecture: Architecture
    _shelves: Mapping[Part, Shelf]

    def fill(
        self,
        part: Part,
        module: nn.Module,
        dtype: torch.dtype,
        loras: Sequence[StrongLora] = (),
        note: Note = unnoted,
    ) -> None:
        """Give a network its weights, each of them and no others, and what `loras` add to them.

        Changes are added in float32, in the order given; a strength of 0 leaves every bit as it is. `note` is told of
        the bytes of each weight as it comes.

        Raises:
            ServiceUnavailable: names the file and the first weight, or change of one, that is missing, does not belong
                or does not fit.
        """
        strong = [one for one in loras if one.strength]
        changes = [(one.lora.changes(part, module, self.architecture.unet), one.strength) for one in strong]
        self._shelves[part].fill(module, dtype, changes, note)

    def sizes(self, precision: torch.dtype | Precision) -> dict[Part, int]:
        """Bytes of each part that is there, in this precision.

        Raises:
            ServiceUnavailable: names the file, whose UNet is not SDXL's.
        """
        precision = Precision.of(precision)
        itemsize = precision.dtype.itemsize
        sizes = {part: shelf.size * itemsize for part, shelf in self._shelves.items() if shelf.size}
        if precision.eight_bit and self.architecture.unet is not None:
            sizes["unet"] = self._unet_size(self.architecture.unet, precision)
        return sizes

    def _unet_size(self, config: Mapping[str, Any], precision: Precision) -> int:
        try:
            return sum(weight.nbytes for weight in bare_unet(config, precision).parameters())
        except ValueError as error:
            raise ServiceUnavailable(f"{self._shelves['unet'].tensors.path}: {error}") from None

    def require(self, part: Part, module: nn.Module) -> None:
        """Raises as `fill` does, without reading more than headers; what does not fit is not noticed."""
        self._shelves[part].require(module)


def open_weights(path: str) -> Weights:
    """The checkpoint at `path`: one safetensors file in Stability's layout, with or without text encoders and VAE; a
    folder in diffusers' layout; or a VAE alone in either.

    Raises:
        ServiceUnavailable: it is not there, not whole, or no SDXL checkpoint; says what it is instead, where known.
    """
    return _in_folder(Path(path)) if Path(path).is_dir() else _in_file(Path(path))


def _stored(module: nn.Module) -> dict[str, Tensor]:
    """What of a network is in its file: all but the scales, which come of the weights."""
    state = module.state_dict()
    scales = {scale_name(name) for name, tensor in state.items() if tensor.dtype == EIGHT_BITS}
    return {name: tensor for name, tensor in state.items() if name not in scales}


def _in_eight_bits(name: str, weight: Tensor) -> dict[str, Tensor]:
    rounded, scale = in_eight_bits(weight.float())
    return {name: rounded, scale_name(name): scale.flatten()}


def refuse_strangers(path: str, names: set[str]) -> None:
    """Raises ServiceUnavailable for weights that nothing asked for."""
    if names:
        raise ServiceUnavailable(f"{path} has {len(names)} weights that do not belong there, first {min(names)}")


def _in_file(path: Path) -> Weights:
    tensors = open_file(path)
    known = recognise(str(path), tensors.shapes(), tensors.metadata)
    shelves = _vae_alone(tensors, known) if known.kind == "vae" else _shelves(tensors, known)
    ours = tuple(shelf.prefix for shelf in shelves.values())
    refuse_strangers(str(path), {name for name in tensors.names if not name.startswith(ours) and not is_extra(name)})
    return Weights(known, shelves)


def _shelves(tensors: Tensors, known: Architecture) -> dict[Part, Shelf]:
    prefix = open_clip_prefix(known.kind)

    def open_clip_place(name: str) -> Place:
        rest, third = open_clip_name(name)
        return prefix + rest, third

    return {
        "unet": Shelf(tensors, UNET_PREFIX, lambda name: (unet_name(name, known.unet or {}), None)),
        "vae": Shelf(tensors, VAE_PREFIX, lambda name: (vae_name(name, known.vae or {}), None)),
        "text_encoder": Shelf(tensors, CLIP_PREFIX, lambda name: (clip_name(name), None)),
        "text_encoder_2": Shelf(tensors, prefix, open_clip_place),
    }


def _vae_alone(tensors: Tensors, known: Architecture) -> dict[Part, Shelf]:
    """A file of nothing but a VAE has Stability's names, mostly without their prefix, or diffusers'."""
    if any(name.startswith("decoder.up_blocks.") for name in tensors.names):
        return {"vae": Shelf(tensors, "", _place_in_folder("vae", tensors))}
    prefix = VAE_PREFIX if any(name.startswith(VAE_PREFIX) for name in tensors.names) else ""

    def place(name: str) -> Place:
        return prefix + vae_name(name, known.vae or {}).removeprefix(VAE_PREFIX), None

    return {"vae": Shelf(tensors, prefix, place)}


def _in_folder(path: Path) -> Weights:
    known, folders = read_folder(path)
    opened = {part: open_in_folder(folder, STEMS[part]) for part, folder in folders.items()}
    shelves = {part: Shelf(tensors, "", _place_in_folder(part, tensors)) for part, tensors in opened.items()}
    return Weights(known, shelves)


def _place_in_folder(part: Part, tensors: Tensors) -> Callable[[str], Place]:
    """Names are the modules' own there, but for what the libraries have renamed since the folder was written."""

    def place(name: str) -> Place:
        if name in tensors.names:
            return name, None
        return (folder_vae_name(name) if part == "vae" else folder_clip_name(name)), None

    return place
