"""How clear a picture of a thing on a plain ground is: sharp where the thing is, calm where it is not."""

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
_AROUND = 5
"""Pixels to a side that are averaged for what a pixel would be without noise."""


def sharpness(picture: Tensor) -> float:
    """The mean steepness of brightness along edges, per pixel, 0..1; picture: [3, height, width] in 0..1."""
    bright = grey(picture)[0]
    across, down = bright[1:, 1:] - bright[1:, :-1], bright[1:, 1:] - bright[:-1, 1:]
    steepness = torch.hypot(across, down)[_near_thing(picture)[1:, 1:]]
    return float(steepness.topk(max(round(len(steepness) * _EDGES), 1)).values.mean())


def noise(picture: Tensor) -> float:
    """The mean absolute difference of the ground's pixels from the mean around them, 0..1."""
    calm = F.avg_pool2d(picture, _AROUND, stride=1, padding=_AROUND // 2, count_include_pad=False)
    return float((picture - calm).abs().mean(0)[~_near_thing(picture)].mean())


def _near_thing(picture: Tensor) -> Tensor:
    """[height, width] bool."""
    small = sampled(picture)
    grown = ndimage.binary_dilation(standing_out(small, border(small)).numpy(), iterations=_BESIDE)
    near = torch.from_numpy(grown).float()[None, None]
    return F.interpolate(near, size=picture.shape[1:], mode="nearest")[0, 0] > 0
