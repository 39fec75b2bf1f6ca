"""The outlines of the world: signed distances to eight basic shapes of about unit size.

A distance is negative inside and positive outside, in the units of x and y, with y pointing down.
Mathematics after Inigo Quilez, "2D distance functions" (https://iquilezles.org/articles/distfunctions2d).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


def _circle(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 1.0


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.86


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    lowered = y - 0.2
    return torch.maximum(0.866 * x.abs() - 0.5 * lowered, lowered) - 0.62


def _star(x: Tensor, y: Tensor) -> Tensor:
    """Five points, found by folding the plane into one tenth of the star."""
    sector = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + sector / 2, sector) - sector / 2
    radius = torch.hypot(x, y)
    along, across = radius * angle.cos(), radius * angle.abs().sin()
    tip, notch_along, notch_across = 1.15, 0.46 * math.cos(math.pi / 5), 0.46 * math.sin(math.pi / 5)
    length = math.hypot(notch_across, tip - notch_along)
    return ((along - tip) * notch_across + across * (tip - notch_along)) / length


def _heart(x: Tensor, y: Tensor) -> Tensor:
    scale = 1.75
    side, up = x.abs() / scale, 0.55 - y / scale
    lobe = torch.hypot(side - 0.25, up - 0.75) - math.sqrt(2) / 4
    diagonal = 0.5 * (side + up).clamp(min=0)
    point = torch.minimum(torch.hypot(side, up - 1), torch.hypot(side - diagonal, up - diagonal))
    return torch.where(side + up > 1, lobe, point * torch.sign(side - up)) * scale


def _diamond(x: Tensor, y: Tensor) -> Tensor:
    return (x.abs() / 0.8 + y.abs() / 1.15 - 1.0) * 0.66


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.74).abs() - 0.26


def _cross(x: Tensor, y: Tensor) -> Tensor:
    upright = torch.maximum(x.abs() - 0.33, y.abs() - 1)
    lying = torch.maximum(x.abs() - 1, y.abs() - 0.33)
    return torch.minimum(upright, lying)


DISTANCES: dict[str, Distance] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "diamond": _diamond,
    "ring": _ring,
    "cross": _cross,
}
