"""A picture laid out for painting: for every sample of a window, its place, its ground and how far it is from what.

A manner of rendering reads this and needs to know nothing of scenes. Lengths are as in `composition`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from gesso.mini.world.composition import Picture, Placed, Window
from gesso.mini.world.grounds import ground_colours
from gesso.mini.world.objects import DARK, OBJECTS, OWN, Part
from gesso.mini.world.paints import named, saturated

Warp = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Layer:
    """A part of a thing: `distance` [rows, columns] to its outline, its `colour` [3, 1, 1]."""

    distance: Tensor
    colour: Tensor


@dataclass(frozen=True)
class Figure:
    """A thing: its layers from the back, the `distance` to its whole outline, its radius, and where a sample is within
    it: `across` and `down` in radii from its centre."""

    layers: tuple[Layer, ...]
    distance: Tensor
    radius: float
    across: Tensor
    down: Tensor


@dataclass(frozen=True)
class Drawing:
    """`x` [1, columns] and `y` [rows, 1] lengths; `column` and `row` the same in pixels from the picture's corner;
    `ground` [3, rows, columns]; `sample` the distance between samples, `step` the same in pixels."""

    x: Tensor
    y: Tensor
    column: Tensor
    row: Tensor
    extent: tuple[float, float]
    sample: float
    step: int
    scale: float
    chance: float
    ground: Tensor
    figures: tuple[Figure, ...]

    def coverage(self, distance: Tensor) -> Tensor:
        """How much of a sample lies inside an outline, 0..1."""
        return (0.5 - distance / self.sample).clamp(0, 1)

    def line(self, distance: Tensor, width: float) -> Tensor:
        """How much of a sample a line along an outline covers."""
        return self.coverage(distance.abs() - width * self.scale / 2)


def draw(picture: Picture, window: Window, warp: Warp | None = None) -> Drawing:
    """Lay a picture out; `warp` moves the places at which it is looked up, in lengths."""
    short = min(picture.width, picture.height)
    column = window.left + (torch.arange(window.columns) + 0.5).view(1, -1) * window.step
    row = window.top + (torch.arange(window.rows) + 0.5).view(-1, 1) * window.step
    x, y = (column * 2 - picture.width) / short, (row * 2 - picture.height) / short
    at_x, at_y = warp(x, y) if warp else (x, y)
    sample = 2 * window.step / short
    ground = ground_colours(picture, at_x, at_y, sample).expand(3, window.rows, window.columns)
    figures = tuple(_figure(placed, at_x, at_y, picture.scene.weight("colour")) for placed in picture.placed)
    return Drawing(
        x, y, column, row, picture.extent, sample, window.step, picture.scale, picture.chance, ground, figures
    )


def _figure(placed: Placed, x: Tensor, y: Tensor, intensity: float) -> Figure:
    cosine, sine = math.cos(placed.angle), math.sin(placed.angle)
    across, down = (x - placed.x) / placed.radius, (y - placed.y) / placed.radius
    turned = (across * cosine - down * sine, across * sine + down * cosine)
    own = saturated(named(placed.thing.colour), intensity)
    parts = OBJECTS[placed.thing.kind]
    layers = tuple(
        Layer(part.distance(*turned) * placed.radius, _paint(part, placed.thing.colour, own)) for part in parts
    )
    distance = reduce(torch.minimum, (layer.distance for layer in layers))
    return Figure(layers, distance, placed.radius, *turned)


def _paint(part: Part, own_name: str, own: Tensor) -> Tensor:
    if part.paint == OWN:
        return own
    if part.paint == DARK:
        return own * 0.68 if own_name != "black" else named("gray")
    return named(part.instead if part.paint == own_name else part.paint)
