"""A LoRA: changes of a checkpoint's weights (Hu et al. 2021, https://arxiv.org/abs/2106.09685), in any layout.

For each weight that it changes, a file holds two factors, `down` [rank, in] and `up` [out, rank], and mostly a number
`alpha`; the change is alpha / rank * up · down. Of a convolution, `down` has its kernel and `up` one of 1 x 1.
Files are named in kohya's way (`lora_unet_input_blocks_4_1_...` or diffusers' names with underscores) or in diffusers'
(`unet.down_blocks.1...`, PEFT's or the one before it); a file is read whole or not at all.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gesso.errors import ServiceUnavailable
from gesso.sdxl.folder import Part
from gesso.sdxl.layout import UNET_PREFIX, unet_name
from gesso.sdxl.recognition import is_lora
from gesso.sdxl.tensors import Tensors, open_file

METADATA_KEY = "lora_adapter_metadata"
"""Where diffusers writes, as JSON, how PEFT was configured."""

UNSERVED = {
    "DoRA": r"\.(dora_scale|lora_magnitude_vector)",
    "LoHa": r"\.hada_",
    "LoKr": r"\.lokr_",
    "OFT": r"\.oft_",
    "GLoRA": r"\.[ab][12]\.weight$",
    "(IA)3": r"\.(on_input|ia3_)",
    "a Tucker decomposition": r"\.lora_mid",
    "whole differences of weights": r"\.diff(_b)?$",
}
"""Forms of change that are not served, and what tells them in a tensor's name."""

FOREIGN = {
    "Stable Diffusion 1 or 2": r"lora_te_",
    "Stable Diffusion 3": r"(lora_unet_|diffusion_model\.|transformer\.)joint_",
    "Flux": r"(lora_unet_|diffusion_model\.)(double|single)_(blocks|stream)",
    "a diffusion transformer": r"(base_model\.model\.)?(lora_transformer_|transformer[._]|lora_unet_(blocks|layers)_)",
}
"""What else LoRAs are made for, and how a name of one of their tensors begins."""

PARTS: Mapping[str, Part] = {
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "unet.": "unet",
    "diffusion_model.": "unet",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
}
"""What a name begins with, by what it changes."""

_BARE = re.compile(r"(down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding|add_embedding)\b")
"""A UNet saved by itself has its modules' names and nothing before them."""
_ROLE = re.compile(
    r"(?P<target>.+?)(?:(?:\.lora_|[._]lora\.|\.lora_linear_layer\.)(?P<factor>down|up|A|B)\.weight|\.(?P<alpha>alpha))"
)
_FACTORS = {"down": "down", "A": "down", "up": "up", "B": "up"}
_OLD_NAMES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""What diffusers called a text encoder's projections until 2023."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to one weight: `scale` times the product of two factors."""

    tensors: Tensors
    up: str
    down: str
    scale: float
    shape: tuple[int, ...]
    """[out, in] or [out, in, k, k]; of a 1 x 1 kernel only [out, in]."""

    def read(self, strength: float, shape: torch.Size) -> Tensor:
        """In float32, with the weight's own shape."""
        up, down = (self.tensors.read(name).float().flatten(1) for name in (self.up, self.down))
        return (up @ down).reshape(shape) * (strength * self.scale)


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA's file, open: which modules of which part it changes. Factors are read when a weight is changed."""

    path: str
    _changes: Mapping[Part, Mapping[str, Change]]
    """By the file's own name of the module, written with underscores."""

    @property
    def parts(self) -> frozenset[Part]:
        """What it changes at all."""
        return frozenset(self._changes)

    def changes(self, part: Part, module: nn.Module, unet: Mapping[str, Any] | None) -> dict[str, Change]:
        """What changes of `module`'s weights, by their names in it; nothing of a part that the file does not know.

        `unet` is the UNet's configuration, which says how Stability's layout names its modules.

        Raises:
            ServiceUnavailable: names the first change that has no place in the module, or not its weight's shape.
        """
        wanted = dict(self._changes.get(part, {}))
        changes: dict[str, Change] = {}
        for name, shape in _layers(module) if wanted else ():
            for spelling in _spellings(part, name, unet or {}):
                if change := wanted.pop(spelling, None):
                    self._check(change, f"{name}.weight", shape, changes)
                    changes[f"{name}.weight"] = change
        if wanted:
            change = wanted[min(wanted)]
            raise ServiceUnavailable(
                f"{self.path} does not fit: of its changes of the {_said(part)}, {len(wanted)} have no place there, "
                f"first {change.down}; it may be made for another family of models"
            )
        return changes

    def _check(self, change: Change, weight: str, shape: tuple[int, ...], changes: Mapping[str, Change]) -> None:
        if weight in changes:
            raise ServiceUnavailable(f"{self.path} changes {weight} twice: as {changes[weight].down} and {change.down}")
        if change.shape != _without_ones(shape):
            raise ServiceUnavailable(
                f"{self.path} does not fit: {change.up} and {change.down} change a weight of {list(change.shape)}, "
                f"{weight} is {list(shape)}; it may be made for another family of models"
            )


@dataclass(frozen=True, slots=True)
class StrongLora:
    """A LoRA, and how strongly it changes a network: 1 is as it was trained, 0 not at all."""

    lora: Lora
    strength: float


def open_lora(path: str) -> Lora:
    """The LoRA in the file at `path`.

    Raises:
        ServiceUnavailable: it is not there, no whole safetensors file, no LoRA, or one of a form or a model that is not
            served; names the first tensor that is in the way.
    """
    tensors = open_file(Path(path))
    _refuse_unserved(tensors)
    shapes = tensors.shapes()
    changes: dict[Part, dict[str, Change]] = {}
    for (part, target), named in _grouped(tensors).items():
        changes.setdefault(part, {})[target.replace(".", "_")] = _change(tensors, part, target, named, shapes)
    return Lora(path, changes)


def _refuse_unserved(tensors: Tensors) -> None:
    for what, beginning in FOREIGN.items():
        if any(re.match(beginning, name) for name in tensors.names):
            raise ServiceUnavailable(f"{tensors.path} is a LoRA for {what}, not for SDXL")
    for what, mark in UNSERVED.items():
        if marked := sorted(name for name in tensors.names if re.search(mark, name)):
            raise ServiceUnavailable(f"{tensors.path} holds {what} ({marked[0]}): such changes are not served yet")
    if not is_lora(tensors.names):
        raise ServiceUnavailable(f"{tensors.path} is no LoRA")


def _grouped(tensors: Tensors) -> dict[tuple[Part, str], dict[str, str]]:
    """The names of a change's tensors by their role (`up`, `down`, `alpha`), by part and module as the file says it."""
    groups: dict[tuple[Part, str], dict[str, str]] = {}
    for name in sorted(tensors.names):
        role = _ROLE.fullmatch(name)
        place = _place(role["target"]) if role else None
        if role is None or place is None:
            raise ServiceUnavailable(f"{tensors.path} holds {name}, which is nothing that a LoRA for SDXL has")
        key = _FACTORS[role["factor"]] if role["factor"] else "alpha"
        group = groups.setdefault(place, {})
        if key in group:
            raise ServiceUnavailable(f"{tensors.path} holds {name} twice: as {group[key]} too")
        group[key] = name
    return groups


def _place(target: str) -> tuple[Part, str] | None:
    """The part that a file's name is about, and the module there, as the libraries name it now."""
    for beginning, part in PARTS.items():
        if target.startswith(beginning):
            return part, _renewed(part, target.removeprefix(beginning))
    return ("unet", _renewed("unet", target)) if _BARE.match(target) else None


def _renewed(part: Part, target: str) -> str:
    """Until 2023 diffusers named an attention's projections by its processor."""
    target = target.replace(".processor.", ".")
    if part == "unet":
        return re.sub(r"(\.attn[12]\.to_out)$", r"\1.0", target)
    return re.sub(r"(?<=\.self_attn\.)(to_q|to_k|to_v|to_out)$", lambda old: _OLD_NAMES[old[0]], target)


def _change(
    tensors: Tensors, part: Part, target: str, named: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> Change:
    for factor in ("up", "down"):
        if factor not in named:
            raise ServiceUnavailable(
                f"{tensors.path} has a change without its `{factor}`: {min(named.values())} stands alone"
            )
    up, down = shapes[named["up"]], shapes[named["down"]]
    if len(down) not in (2, 4) or len(_without_ones(up)) != 2 or up[1] != down[0] or not down[0]:
        raise ServiceUnavailable(
            f"{tensors.path}: {named['up']} is {list(up)} and {named['down']} {list(down)}: they have no product"
        )
    scale = _scale(tensors, part, target, named.get("alpha"), down[0])
    return Change(tensors, named["up"], named["down"], scale, _without_ones((up[0], *down[1:])))


def _scale(tensors: Tensors, part: Part, target: str, alpha_name: str | None, rank: int) -> float:
    """alpha / rank; 1 where nobody states an alpha."""
    stated = _stated(tensors, part)
    alpha = _alpha(tensors, alpha_name) if alpha_name else _pattern_alpha(stated, target, rank)
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ServiceUnavailable(f"{tensors.path} says that {alpha_name or target} has the alpha {alpha!r}")
    return alpha / (math.sqrt(rank) if stated.get("use_rslora") else rank)


def _alpha(tensors: Tensors, name: str) -> float:
    tensor = tensors.read(name)
    if tensor.numel() != 1:
        raise ServiceUnavailable(f"{tensors.path}: {name} is {list(tensor.shape)}, not one number")
    return float(tensor.item())


def _pattern_alpha(stated: Mapping[str, Any], target: str, rank: int) -> Any:
    """As PEFT does: the first pattern that the end of the module's name matches goes before what holds for all."""
    for pattern, alpha in (stated.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", target):
            return alpha
    return stated.get("lora_alpha", rank)


def _stated(tensors: Tensors, part: Part) -> dict[str, Any]:
    """PEFT's configuration of this part, where the file states it; a UNet saved by itself has it without a prefix."""
    try:
        stated = json.loads(tensors.metadata.get(METADATA_KEY, "{}"))
    except ValueError as error:
        raise ServiceUnavailable(f"{tensors.path}: {METADATA_KEY} cannot be read: {error}") from None
    own = {name.removeprefix(f"{part}."): value for name, value in stated.items() if name.startswith(f"{part}.")}
    return own or ({name: value for name, value in stated.items() if "." not in name} if part == "unet" else {})


def _layers(module: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What a LoRA can change: Linears and convolutions, with the shapes of their weights."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            yield name, tuple(layer.weight.shape)


def _spellings(part: Part, name: str, unet: Mapping[str, Any]) -> Iterator[str]:
    """What files call a module, with underscores: as its library does now, as Stability or an older library did."""
    yield name.replace(".", "_")
    if part == "unet":
        yield unet_name(name, unet).removeprefix(UNET_PREFIX).replace(".", "_")
    elif name.startswith("text_model."):
        yield name.removeprefix("text_model.").replace(".", "_")
    else:
        yield f"text_model_{name.replace('.', '_')}"


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A 1 x 1 convolution is a Linear."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def _said(part: Part) -> str:
    return {"unet": "UNet", "text_encoder": "first text encoder", "text_encoder_2": "second text encoder"}[part]
