"""True renderings made worse, as painted pictures are: what tells pictures apart is fitted on these."""

import random

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from gesso.mini.judging.measurements import CELL
from gesso.mini.world.paints import grey

_FAR = 4
"""Samples to a side that a blur reaches."""


def worsened(picture: Tensor, rng: random.Random) -> Tensor:
    """Blurred, noisy and blotchy, its colours shifted and too strong or too weak, as those of painted pictures are."""
    chance = torch.Generator().manual_seed(rng.randrange(2**31))
    worse = _blurred(picture, rng.uniform(0.05, 1.5))
    worse = torch.lerp(grey(worse), worse, rng.uniform(0.8, 1.6))
    worse = (worse - 0.5) * rng.uniform(0.85, 1.4) + 0.5
    worse = worse + rng.uniform(0, 0.05) * torch.randn(picture.shape, generator=chance)
    for size in (CELL // 2, CELL):
        worse = worse + rng.uniform(0, 0.08) * _blotches(picture, size, chance)
    factors, shifts = (torch.rand(3, 1, 1, generator=chance) - 0.5 for _ in range(2))
    return (worse * (1 + 0.06 * factors) + 0.04 * shifts).clamp(0, 1)


def _blotches(picture: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """As large as a picture, of chance in brightness and in colour, the same over so many samples."""
    cells = picture.shape[1] // size, picture.shape[2] // size
    colours, lights = (torch.randn(1, planes, *cells, generator=chance) for planes in (3, 1))
    return F.interpolate(0.6 * (colours + lights), scale_factor=size)[0]


def _blurred(picture: Tensor, deviation: float) -> Tensor:
    weights = torch.exp(-((torch.arange(-_FAR, _FAR + 1) / deviation) ** 2) / 2)
    weights = weights / weights.sum()
    padded = F.pad(picture.unsqueeze(1), (_FAR,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1)).squeeze(1)
