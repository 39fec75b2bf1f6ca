"""What is measured of pictures to tell by which hand they are: colours, edges, texture, frame and light, as numbers.

Pictures are [pictures, 3, SIDE, SIDE] RGB in 0..1, averaged down from 512 x 512, so that a cell of the latent, with
which textures repeat, is CELL samples. Every function gives [pictures, numbers].
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from gesso.mini.judging.patches import SIDE

CELL = 8
_LEVELS = 4
_TENTHS = tuple(tenth / 10 for tenth in range(1, 10))
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
_LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 2), (2, -2), (0, 4), (4, 0), (4, 4), (4, -4))
"""Down and across, in quarters of a cell."""
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
_DEPTHS = 14
_FAINT = 0.003
_RANKS = (25, 76, 127, 178, 229, 242, 250)
"""Of a picture's 256 cells in order."""


def measurements(pictures: Tensor) -> Tensor:
    """All that is measured."""
    grey = (pictures * _LUMA).sum(1)
    parts = (
        _colours(pictures),
        _edges(grey),
        _texture(grey),
        _blocks(pictures, grey),
        _frame(pictures),
        _light(pictures),
    )
    return torch.cat(parts, dim=1)


def _colours(pictures: Tensor) -> Tensor:
    """How much of a picture has which colour, brightness and saturation; roots, so that a little counts."""
    half = F.avg_pool2d(pictures, 2)
    red, green, blue = half.unbind(1)
    spread = torch.maximum(torch.maximum(red, green), blue) - torch.minimum(torch.minimum(red, green), blue)
    levels = (half * _LEVELS).long().clamp(max=_LEVELS - 1)
    numbers = (levels[:, 0] * _LEVELS + levels[:, 1]) * _LEVELS + levels[:, 2]
    shares = (
        _shares(numbers, _LEVELS**3),
        _shares_above((half * _LUMA).sum(1), (0.03, *_TENTHS, 0.97)),
        _shares_above(spread, (0.03, 0.06, *_TENTHS)),
    )
    return torch.cat([*shares, half.mean((2, 3)), half.std((2, 3))], dim=1)


def _shares(numbers: Tensor, count: int) -> Tensor:
    flat = numbers.flatten(1) + torch.arange(len(numbers)).view(-1, 1) * count
    counts = flat.flatten().bincount(minlength=len(numbers) * count).view(-1, count)
    return (counts / numbers[0].numel()).sqrt()


def _shares_above(values: Tensor, bounds: Sequence[float]) -> Tensor:
    between = _shares(torch.bucketize(values, torch.tensor(bounds)), len(bounds) + 1)[:, 1:].square()
    return between.flip(1).cumsum(1).flip(1).sqrt()


def _edges(grey: Tensor) -> Tensor:
    """How steep a picture is in four directions, fine and coarse."""
    found = []
    for coarseness in (1, 2, 4):
        coarse = F.avg_pool2d(grey.unsqueeze(1), coarseness).squeeze(1)
        across, down = coarse[:, :, 1:] - coarse[:, :, :-1], coarse[:, 1:] - coarse[:, :-1]
        slanting = coarse[:, 1:, 1:] - coarse[:, :-1, :-1], coarse[:, 1:, :-1] - coarse[:, :-1, 1:]
        means = torch.stack([step.abs().mean((1, 2)) for step in (across, down, *slanting)], dim=1)
        steepest = torch.maximum(across[:, 1:].abs(), down[:, :, 1:].abs())
        found += [_shares_above(steepest, _STEPS), means, (means + _FAINT).log()]
    return torch.cat(found, dim=1)


def _texture(grey: Tensor) -> Tensor:
    """How far a picture, its shapes smoothed away, is like itself some quarters of a cell on."""
    rough = grey - _smooth(grey, CELL + 1)
    even = rough / (rough.std((1, 2), keepdim=True) + 0.01)
    alike = torch.fft.irfft2(torch.fft.rfft2(even).abs().square()) / SIDE**2
    quarter = CELL // 4
    return torch.stack([alike[:, down * quarter, across * quarter] for down, across in _LAGS], dim=1)


def _smooth(grey: Tensor, size: int) -> Tensor:
    """The mean of size x size samples around every one."""
    padded = F.pad(grey.unsqueeze(1), (size // 2 + 1, size // 2) * 2, mode="replicate").squeeze(1)
    sums = padded.cumsum(1).cumsum(2)
    inner = sums[:, size:, size:] - sums[:, :-size, size:] - sums[:, size:, :-size] + sums[:, :-size, :-size]
    return inner / size**2


def _blocks(pictures: Tensor, grey: Tensor) -> Tensor:
    """Cell by cell: how much it slopes, and what is not even, also but for its rim; and whether steps are where cells
    meet."""
    count = SIDE // CELL
    cells = pictures.view(-1, 3, count, CELL, count, CELL).transpose(3, 4).flatten(2, 3)
    flat = cells.flatten(3)
    planes = flat @ _planes().T
    uneven = (flat.square().mean(3) - planes.square().sum(3) / CELL**2).clamp(min=0).sum(1).sqrt()
    slope = planes[..., 1:].square().sum((1, 3)).sqrt() / CELL
    inside = cells[..., 1:-1, 1:-1].var((3, 4)).sum(1).sqrt()
    ranked = torch.cat([part.sort(dim=1).values[:, _RANKS] for part in (uneven, slope, inside)], dim=1)
    steps = (grey[:, :, 1:] - grey[:, :, :-1]).abs().mean(1) + (grey[:, 1:] - grey[:, :-1]).abs().mean(2)
    meeting = torch.arange(SIDE - 1) % CELL == CELL - 1
    within, between = steps[:, ~meeting].mean(1, keepdim=True), steps[:, meeting].mean(1, keepdim=True)
    ratio = (between + _FAINT) / (within + _FAINT)
    return torch.cat([ranked, *(part.log() for part in (ranked + _FAINT, within + _FAINT, ratio))], dim=1)


@cache
def _planes() -> Tensor:
    """[3, CELL * CELL]: evenness, slope across and slope down, orthonormal."""
    axis = torch.linspace(-1, 1, CELL)
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    planes = torch.stack([torch.ones_like(down), across, down]).flatten(1)
    norms: Tensor = planes.norm(dim=1, keepdim=True)
    return planes / norms


def _frame(pictures: Tensor) -> Tensor:
    """The colour of the border, and how brightness changes with the distance from it."""
    colours = pictures.flatten(2) @ _rings().T
    brightness = (colours * _LUMA.view(3, 1)).sum(1)
    changes = brightness[:, 1:] - brightness[:, :-1]
    squares = (pictures * _LUMA).sum(1).square().flatten(1) @ _rings().T
    deviations = (squares - brightness.square()).clamp(min=0).sqrt()
    return torch.cat([colours[:, :, :3].flatten(1), changes, changes.abs(), deviations], dim=1)


@cache
def _rings() -> Tensor:
    """[_DEPTHS, SIDE * SIDE]: the means over all samples at a distance from the border."""
    axis = torch.arange(SIDE)
    depth = torch.minimum(axis, SIDE - 1 - axis)
    depth = torch.minimum(depth.view(-1, 1), depth).flatten()
    rings = (depth == torch.arange(_DEPTHS).view(-1, 1)).float()
    return rings / rings.sum(1, keepdim=True)


def _light(pictures: Tensor) -> Tensor:
    """How colours change over the ground, also as factors: towards a side, a corner, all corners; and the brightest and
    darkest spots."""
    cells = F.avg_pool2d(pictures, CELL).flatten(2)
    grey = (pictures * _LUMA).sum(1)
    fine = _smooth(grey, 3)
    spots = [(fine - _smooth(grey, size)).flatten(1) for size in (CELL - 1, 2 * CELL - 1)]
    extremes = [torch.stack([spot.amax(1), spot.amin(1)], dim=1) for spot in spots]
    changes = [(part @ _course().T).flatten(1) for part in (cells, (cells + 0.05).log())]
    return torch.cat([*changes, *extremes], dim=1)


@cache
def _course() -> Tensor:
    """[6, cells]: what makes of a ground's cells the polynomial that is nearest to them, with a light at the upper
    right."""
    axis = (torch.arange(SIDE // CELL) + 0.5) * 2 * CELL / SIDE - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    terms = (torch.ones_like(x), x, y, x * x + y * y, x * y, torch.exp(-((x - 1) ** 2 + (y + 1) ** 2) / 0.7))
    outward = torch.maximum(x.abs(), y.abs()).flatten()
    ground = (outward > 0.5) & (outward < 0.9)
    course = torch.zeros(len(terms), len(ground))
    course[:, ground] = torch.linalg.pinv(torch.stack(terms).flatten(1)[:, ground].T)
    return course
