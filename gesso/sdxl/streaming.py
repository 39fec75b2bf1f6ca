"""A UNet that is larger than its device's memory: the weights of a block are there only while that block works.

The rest stays: what is used outside of the blocks' turns (what tells them of time and of prompts), and what is small.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from gesso.sdxl.bare import bare_unet
from gesso.sdxl.blocks import ResnetBlock, TransformerBlock
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.precision import Precision
from gesso.sdxl.recordings import Recorded
from gesso.sdxl.unet import Unet

STAYING = ("time_emb_proj.", "attn2.to_k.", "attn2.to_v.")
"""Of a block's weights, those that are used for all blocks at once."""


class _Visit:
    """A block's weights, to and fro."""

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self._block = block
        self._device = device
        self._hosts = [(module, name, module._parameters[name]) for module, name in _visiting(block)]

    def arrive(self, *_: object) -> None:
        for module, name, host in self._hosts:
            assert host is not None
            there = host.to(self._device, non_blocking=True, copy=True)
            module._parameters[name] = nn.Parameter(there, requires_grad=False)
        self._part()

    def leave(self, *_: object) -> None:
        for module, name, host in self._hosts:
            module._parameters[name] = host
        self._part()

    def _part(self) -> None:
        if isinstance(self._block, TransformerBlock):
            self._block.joined.part()


def streamed(unet: Unet, device: torch.device) -> Unet:
    """The same on `device`, its blocks' weights staying where they are until it is their turn.

    Its calls are not recorded: a recording would keep all that it saw.
    """
    network = _split(unet.network, device)
    for block in _blocks(network):
        visit = _Visit(block, device)
        block.register_forward_pre_hook(visit.arrive)
        block.register_forward_hook(visit.leave, always_call=True)
    return replace(unet, network=network, call=Recorded(network, records=False))


def staying_share(config: Mapping[str, Any], precision: Precision) -> float:
    """The part of the bytes of a UNet's weights that stays on the device."""
    network = bare_unet(config, precision)
    visiting = [module._parameters[name] for block in _blocks(network) for module, name in _visiting(block)]
    return 1 - sum(weight.nbytes for weight in visiting if weight is not None) / _size(network)


def _size(network: nn.Module) -> int:
    return sum(weight.nbytes for weight in network.parameters())


def _split(network: UnetNetwork, device: torch.device) -> UnetNetwork:
    """A copy whose visiting weights are the very ones of `network`, and whose others are on `device`."""
    visiting = {id(module._parameters[name]) for block in _blocks(network) for module, name in _visiting(block)}
    made: dict[int, Any] = {}
    for weight in network.parameters():
        stays = id(weight) not in visiting
        made[id(weight)] = nn.Parameter(weight.to(device, copy=True), requires_grad=False) if stays else weight
    return copy.deepcopy(network, made)


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    return (module for module in network.modules() if isinstance(module, ResnetBlock | TransformerBlock))


def _visiting(block: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for path, module in block.named_modules():
        for name in module._parameters:
            if module._parameters[name] is not None and not f"{path}.{name}".startswith(STAYING):
                yield module, name
