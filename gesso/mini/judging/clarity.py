"""How clear a picture of a thing on a plain ground is: sharp at its edges, and of few colours."""

import torch
import torch.nn.functional as F  # noqa: N812
from scipy import ndimage
from torch import Tensor

from gesso.mini.judging.patches import border, sampled, standing_out
from gesso.mini.world.paints import grey

_BESIDE = 6
"""Samples around a thing in which its edge may still be."""
_EDGES = 0.02
"""The share of pixels in and near a thing that its edges have: elsewhere is as much noise as picture."""
_MAIN = 4
"""Colours that a thing has at most, beside its ground's."""
_ANOTHER, _FEWEST = 0.15, 0.003
"""A colour so far from the others is another one, if it has such a share of the pixels."""
_LEVELS = 7
"""Steps of each of RGB that colours are counted by."""


def sharpness(picture: Tensor) -> float:
    """The mean steepness of brightness along edges, per pixel, 0..1; picture: [3, height, width] in 0..1."""
    bright = grey(picture)[0]
    across, down = bright[1:, 1:] - bright[1:, :-1], bright[1:, 1:] - bright[:-1, 1:]
    steepness = torch.hypot(across, down)[_near_thing(picture)[1:, 1:]]
    return float(steepness.topk(max(round(len(steepness) * _EDGES), 1)).values.mean())


def noise(picture: Tensor) -> float:
    """The mean distance of pixels from the nearest of the few colours that a picture mainly has, in RGB of 0..1 each:
    blotches, halos and grain are of none of them."""
    pixels = picture.flatten(1).T
    distances = (pixels - border(picture)).norm(dim=1)
    for _ in range(_MAIN):
        others = pixels[distances > _ANOTHER]
        if len(others) < _FEWEST * len(pixels):
            break
        cells = (others * _LEVELS).round().long() @ torch.tensor([64, 8, 1])
        colour = others[cells == cells.mode().values].median(dim=0).values
        distances = torch.minimum(distances, (pixels - colour).norm(dim=1))
    return float(distances.mean())


def _near_thing(picture: Tensor) -> Tensor:
    """[height, width] bool."""
    small = sampled(picture)
    grown = ndimage.binary_dilation(standing_out(small, border(small)).numpy(), iterations=_BESIDE)
    near = torch.from_numpy(grown).float()[None, None]
    return F.interpolate(near, size=picture.shape[1:], mode="nearest")[0, 0] > 0
