"""A checkpoint's networks, built and filled from disk; nothing is asked of the network or of a hub's cache."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import Architecture
from gesso.sdxl.bare import bare_network
from gesso.sdxl.eight_bit import with_eight_bits
from gesso.sdxl.folder import STEMS, Part
from gesso.sdxl.lora import StrongLora
from gesso.sdxl.network import UnetNetwork, form_of
from gesso.sdxl.precision import Precision
from gesso.sdxl.recordings import Recorded
from gesso.sdxl.text import TextEncoders
from gesso.sdxl.unet import Unet
from gesso.sdxl.vae import Vae
from gesso.sdxl.vae_network import VaeNetwork
from gesso.sdxl.weights import Note, open_weights, unnoted

Network = TypeVar("Network", bound=nn.Module)
Loaded = Unet | TextEncoders | Vae
ENCODERS: tuple[Part, Part] = ("text_encoder", "text_encoder_2")


def load_unet(
    path: str,
    device: torch.device,
    precision: torch.dtype | Precision,
    loras: Sequence[StrongLora] = (),
    note: Note = unnoted,
) -> Unet:
    """The UNet in the file at `path`, changed by `loras`. `note` is told of the bytes of each weight as it comes.

    Raises:
        ServiceUnavailable: names the file and what is wrong with it.
    """
    weights = open_weights(path)
    known = weights.architecture
    precision = Precision.of(precision)
    network = _bare(path, "unet", known)
    if known.unet is None or not isinstance(network, UnetNetwork):
        raise ServiceUnavailable(f"{path} is a VAE alone, which paints nothing")
    network = with_eight_bits(network) if precision.eight_bit else network
    weights.fill("unet", network, precision.dtype, loras, note)
    network = _settled(network, device)
    return Unet(
        network,
        Recorded(network),
        form=form_of(known.unet),
        kind=known.kind,
        prediction_type=known.prediction_type,
        zero_terminal_snr=known.zero_terminal_snr,
        zeros_for_empty=known.force_zeros_for_empty_prompt,
    )


def require_whole(path: str) -> None:
    """Raises as `load_unet` does if the checkpoint at `path` lacks a weight, or has one that does not belong there."""
    weights = open_weights(path)
    for part in STEMS:
        if (network := _bare(path, part, weights.architecture)) is not None:
            weights.require(part, network)


def _bare(path: str, part: Part, shape: Architecture) -> nn.Module | None:
    """A part's network without weights yet, if there is such a part."""
    try:
        return bare_network(part, shape)
    except ValueError as error:
        raise ServiceUnavailable(f"{path}: {error}") from None


def load_vae(path: str, device: torch.device, dtype: torch.dtype, note: Note = unnoted, room: int | None = None) -> Vae:
    """The VAE in the file at `path`; raises and notes as `load_unet` does."""
    weights = open_weights(path)
    network = _bare(path, "vae", weights.architecture)
    if not isinstance(network, VaeNetwork):
        raise ServiceUnavailable(f"{path} has no VAE in it, and no other file was named to lend one")
    weights.fill("vae", network, dtype, note=note)
    return Vae(_settled(network, device), room)


def load_text_encoders(
    path: str,
    device: torch.device,
    dtype: torch.dtype,
    loras: Sequence[StrongLora] = (),
    note: Note = unnoted,
) -> TextEncoders:
    """The one or two text encoders in the file at `path`; changed, raises and notes as `load_unet` does."""
    weights = open_weights(path)
    first, second = (_bare(path, part, weights.architecture) for part in ENCODERS)
    if second is None:
        raise ServiceUnavailable(f"{path} has no text encoders in it, and no other file was named to lend them")
    for part, encoder in zip(ENCODERS, (first, second), strict=True):
        if encoder is not None:
            weights.fill(part, encoder, dtype, loras, note)
    return TextEncoders(
        first=None if first is None else _settled(first, device),
        second=_settled(second, device),
    )


def copied(part: Loaded, device: torch.device) -> Loaded:
    """The same once more, its weights on `device`."""
    return _remade(part, lambda weight: weight.to(device, non_blocking=True))


def pinned(part: Loaded) -> Loaded:
    """The same, its weights where a GPU can fetch them by itself, several times as fast."""
    return _remade(part, Tensor.pin_memory)


def _remade(part: Loaded, make: Callable[[Tensor], Tensor]) -> Loaded:
    if isinstance(part, TextEncoders):
        first = None if part.first is None else _with_weights(part.first, make)
        return replace(part, first=first, second=_with_weights(part.second, make))
    if isinstance(part, Vae):
        return replace(part, network=_with_weights(part.network, make))
    network = _with_weights(part.network, make)
    return replace(part, network=network, call=Recorded(network))


def _with_weights(network: Network, make: Callable[[Tensor], Tensor]) -> Network:
    """A copy of `network` that has, instead of its weights and buffers, what is made of them."""
    tensors: Iterable[Tensor] = (*network.parameters(), *network.buffers())
    made: dict[int, Any] = {}
    for tensor in tensors:
        new = make(tensor)
        made[id(tensor)] = nn.Parameter(new, requires_grad=False) if isinstance(tensor, nn.Parameter) else new
    return copy.deepcopy(network, made)


def _settled(network: Network, device: torch.device) -> Network:
    """`network`, its weights where they will be used, for inference only."""
    # Convolutions read their channels together: a VAE decodes in two thirds of the time on a CPU.
    settled: Any = _with_positions(network.eval().requires_grad_(False)).to(device)
    in_order: Network = settled.to(memory_format=torch.channels_last)
    return in_order


def _with_positions(network: nn.Module) -> nn.Module:
    """`network` with its position ids, which are no weights and so are in no file."""
    for module in network.modules():
        if "position_ids" in module._buffers:
            module.register_buffer("position_ids", torch.arange(77)[None], persistent=False)
    return network
