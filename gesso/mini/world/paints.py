"""Colours as tensors [3, 1, 1] in 0..1, and what is done to them."""

import torch
from torch import Tensor

from gesso.mini.world.scenes import COLOURS

WHITE = torch.ones(3, 1, 1)
BLACK = torch.zeros(3, 1, 1)
PAPER = torch.tensor([246, 242, 232]).view(3, 1, 1) / 255
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def rgb(red: float, green: float, blue: float) -> Tensor:
    """Of 0..255 each."""
    return torch.tensor([red, green, blue]).view(3, 1, 1) / 255


def named(colour: str) -> Tensor:
    """One of the world's colours."""
    return rgb(*COLOURS[colour])


def grey(colours: Tensor) -> Tensor:
    """The brightness of [3, ...] colours, [1, ...]."""
    return (colours * _LUMA).sum(0, keepdim=True)


def saturated(colour: Tensor, intensity: float) -> Tensor:
    """A colour meant more or less strongly: further from grey, or nearer."""
    if intensity == 1:
        return colour
    return torch.lerp(grey(colour).expand_as(colour), colour, intensity).clamp(0, 1)
