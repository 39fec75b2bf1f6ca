"""The things of the world: outlines as signed distances, put together from parts that each have a paint.

A distance is negative inside and positive outside, in the units of x and y, with y pointing down; every object is of
about unit size. Mathematics after Inigo Quilez, "2D distance functions"
(https://iquilezles.org/articles/distfunctions2d).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]
Point = tuple[float, float]

OWN = "own"
DARK = "dark"


@dataclass(frozen=True)
class Part:
    """`paint`: the thing's own colour, a darker shade of it, or a colour by name (`instead`, where the own is that)."""

    distance: Distance
    paint: str = OWN
    instead: str = "gray"


def _disc(radius: float, at: Point = (0.0, 0.0)) -> Distance:
    return lambda x, y: torch.hypot(x - at[0], y - at[1]) - radius


def _box(half_width: float, half_height: float, at: Point = (0.0, 0.0)) -> Distance:
    return lambda x, y: torch.maximum((x - at[0]).abs() - half_width, (y - at[1]).abs() - half_height)


def _ellipse(half_width: float, half_height: float, at: Point = (0.0, 0.0)) -> Distance:
    """Exact on the outline, and nearly so beside it."""
    return lambda x, y: (
        (torch.hypot((x - at[0]) / half_width, (y - at[1]) / half_height) - 1) * min(half_width, half_height)
    )


def _convex(*corners: Point) -> Distance:
    """A convex polygon, its corners clockwise as seen."""
    sides = tuple(zip(corners, corners[1:] + corners[:1], strict=True))

    def distance(x: Tensor, y: Tensor) -> Tensor:
        nearest, outside = torch.full((1, 1), torch.inf), torch.full((1, 1), -torch.inf)
        for (ax, ay), (bx, by) in sides:
            across, down, length = bx - ax, by - ay, math.hypot(bx - ax, by - ay)
            from_x, from_y = x - ax, y - ay
            along = ((from_x * across + from_y * down) / length**2).clamp(0, 1)
            nearest = torch.minimum(nearest, torch.hypot(from_x - across * along, from_y - down * along))
            outside = torch.maximum(outside, (down * from_x - across * from_y) / length)
        return torch.where(outside > 0, nearest, -nearest)

    return distance


def _union(*distances: Distance) -> Distance:
    return lambda x, y: reduce(torch.minimum, (distance(x, y) for distance in distances))


def _without(first: Distance, second: Distance) -> Distance:
    return lambda x, y: torch.maximum(first(x, y), -second(x, y))


def _turned(distance: Distance, sectors: int) -> Distance:
    """What `distance` draws upwards, in so many directions."""
    sector = 2 * math.pi / sectors

    def folded(x: Tensor, y: Tensor) -> Tensor:
        angle = torch.remainder(torch.atan2(x, -y) + sector / 2, sector) - sector / 2
        radius = torch.hypot(x, y)
        return distance(radius * angle.sin(), -radius * angle.cos())

    return folded


def _mirrored(distance: Distance) -> Distance:
    """What `distance` draws on the right, on both sides."""
    return lambda x, y: distance(x.abs(), y)


def _star(x: Tensor, y: Tensor) -> Tensor:
    """One of the five points, for `_turned`: the side from its tip to the notch beside it."""
    tip, notch_along, notch_across = 1.15, 0.46 * math.cos(math.pi / 5), 0.46 * math.sin(math.pi / 5)
    length = math.hypot(notch_across, tip - notch_along)
    out, side = -y - tip, x.abs()
    along = ((side * notch_across + out * (notch_along - tip)) / length**2).clamp(0, 1)
    distance = torch.hypot(side - notch_across * along, out - (notch_along - tip) * along)
    return distance * torch.sign(out * notch_across + side * (tip - notch_along))


def _heart(x: Tensor, y: Tensor) -> Tensor:
    scale = 1.75
    side, up = x.abs() / scale, 0.55 - y / scale
    lobe = torch.hypot(side - 0.25, up - 0.75) - math.sqrt(2) / 4
    diagonal = 0.5 * (side + up).clamp(min=0)
    point = torch.minimum(torch.hypot(side, up - 1), torch.hypot(side - diagonal, up - diagonal))
    return torch.where(side + up > 1, lobe, point * torch.sign(side - up)) * scale


_PEAKS = _union(_convex((-0.3, -0.85), (0.55, 0.8), (-1.1, 0.8)), _convex((0.5, -0.3), (1.1, 0.8), (-0.1, 0.8)))


def _snow(x: Tensor, y: Tensor) -> Tensor:
    """The top of the higher peak, down to a jagged line."""
    jagged = ((x * 4.5 + 0.35).remainder(1) - 0.5).abs() * 0.3
    return torch.maximum(_convex((-0.3, -0.85), (0.55, 0.8), (-1.1, 0.8))(x, y), y + 0.42 - jagged)


OBJECTS: dict[str, tuple[Part, ...]] = {
    "circle": (Part(_disc(1.0)),),
    "square": (Part(_box(0.86, 0.86)),),
    "triangle": (Part(_convex((0.0, -1.04), (1.07, 0.82), (-1.07, 0.82))),),
    "star": (Part(_turned(_star, 5)),),
    "heart": (Part(_heart),),
    "diamond": (Part(_convex((0.0, -1.15), (0.8, 0.0), (0.0, 1.15), (-0.8, 0.0))),),
    "ring": (Part(_without(_disc(1.0), _disc(0.48))),),
    "cross": (Part(_union(_box(0.33, 1.0), _box(1.0, 0.33))),),
    "moon": (Part(_without(_disc(1.0), _disc(0.82, (0.46, -0.18)))),),
    "sun": (
        Part(_union(_disc(0.56), _turned(_convex((0.0, -1.12), (0.17, -0.66), (-0.17, -0.66)), 8))),
        Part(_disc(0.44), DARK),
    ),
    "flower": (Part(_turned(_disc(0.37, (0.0, -0.66)), 6)), Part(_disc(0.33), "yellow", instead="brown")),
    "tree": (
        Part(_box(0.15, 0.42, (0.0, 0.68)), "brown", instead="black"),
        Part(_union(_disc(0.6, (0.0, -0.5)), _mirrored(_disc(0.46, (0.42, -0.02))))),
    ),
    "house": (
        Part(_box(0.74, 0.52, (0.0, 0.42))),
        Part(_convex((0.0, -0.95), (1.0, -0.06), (-1.0, -0.06)), DARK),
        Part(_box(0.17, 0.3, (0.0, 0.64)), "brown", instead="black"),
    ),
    "mountain": (Part(_PEAKS), Part(_snow, "white", instead="gray")),
    "cloud": (
        Part(
            _union(
                _disc(0.42, (-0.58, 0.2)),
                _disc(0.55, (-0.05, -0.1)),
                _disc(0.4, (0.6, 0.22)),
                _box(0.6, 0.25, (0, 0.37)),
            )
        ),
    ),
    "boat": (
        Part(_box(0.05, 0.75, (0.0, -0.2)), "brown", instead="black"),
        Part(_convex((0.12, -1.0), (0.85, 0.2), (0.12, 0.2)), "white", instead="gray"),
        Part(_convex((-0.12, -0.75), (-0.12, 0.2), (-0.65, 0.2)), "white", instead="gray"),
        Part(_convex((-1.0, 0.36), (1.0, 0.36), (0.64, 0.9), (-0.64, 0.9))),
    ),
    "fish": (
        Part(_union(_ellipse(0.74, 0.5, (-0.28, 0.0)), _convex((0.25, 0.0), (1.05, -0.55), (1.05, 0.55)))),
        Part(_disc(0.13, (-0.62, -0.12)), "black", instead="white"),
    ),
    "cat": (
        Part(_union(_ellipse(0.88, 0.74, (0.0, 0.24)), _mirrored(_convex((0.68, -1.0), (0.86, 0.2), (0.14, -0.4))))),
        Part(_mirrored(_disc(0.15, (0.35, 0.1))), "black", instead="white"),
        Part(_convex((-0.13, 0.38), (0.13, 0.38), (0.0, 0.54)), "pink", instead="red"),
    ),
    "mushroom": (
        Part(_box(0.26, 0.46, (0.0, 0.5)), "white", instead="gray"),
        Part(_without(_ellipse(1.0, 0.95, (0.0, 0.08)), _box(1.2, 0.5, (0.0, 0.65)))),
        Part(_union(_mirrored(_disc(0.15, (0.45, -0.18))), _disc(0.17, (0.0, -0.5))), "white", instead="gray"),
    ),
    "butterfly": (
        Part(_mirrored(_union(_ellipse(0.52, 0.46, (0.52, -0.42)), _ellipse(0.4, 0.42, (0.44, 0.44))))),
        Part(_ellipse(0.11, 0.8), "black", instead="white"),
    ),
}
