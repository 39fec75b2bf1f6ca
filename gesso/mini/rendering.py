"""Paints a scene exactly, at any size and from any window: the teacher of the embedded model.

Lengths are in halves of the picture's short side, the origin is its centre, y points down. Edges are smoothed
analytically over one sample, so that a coarse rendering is close to the average of a fine one.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.mini.looks import PLAIN, Look, finish, shade
from gesso.mini.scenes import COLOURS, PLACES, Ground, Scene, Thing
from gesso.mini.shapes import DISTANCES

RADII = {"small": (0.22, 0.27), "medium": (0.42, 0.5), "large": (0.68, 0.78)}
PAIR_RADII = (0.33, 0.39)
SMALLEST_SIDE = 512
MARGIN = 0.1
PERIOD = 0.5


@dataclass(frozen=True)
class Placed:
    """A thing at a point, in units of half the short side and radians."""

    thing: Thing
    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class Picture:
    """A scene composed for a picture of `width` x `height` pixels."""

    scene: Scene
    width: int
    height: int
    placed: tuple[Placed, ...]
    look: Look = PLAIN

    @property
    def extent(self) -> tuple[float, float]:
        """Half the width and half the height in halves of the short side."""
        short = min(self.width, self.height)
        return self.width / short, self.height / short


@dataclass(frozen=True)
class Window:
    """Which part of a picture is sampled: from pixel `left`, `top`, so many samples, every `step` pixels."""

    left: int
    top: int
    columns: int
    rows: int
    step: int = 1


def compose(scene: Scene, width: int, height: int, rng: random.Random, look: Look = PLAIN) -> Picture:
    """Give every thing of a scene its point, radius and angle, with a little chance in each.

    Things grow with the square root of the picture's short side only, so that what a network learns about outlines
    at 512 pixels still holds at 1024.
    """
    short = min(width, height)
    shrunk = (SMALLEST_SIDE / max(short, SMALLEST_SIDE)) ** 0.5
    ranges = [RADII[thing.size] if len(scene.things) == 1 else PAIR_RADII for thing in scene.things]
    radii = [rng.uniform(*between) * shrunk for between in ranges]
    extent = (width / short, height / short)
    placed = tuple(_place(thing, radius, extent, rng) for thing, radius in zip(scene.things, radii, strict=True))
    return Picture(scene, width, height, placed, look)


def _place(thing: Thing, radius: float, extent: tuple[float, float], rng: random.Random) -> Placed:
    toward = PLACES[thing.place]
    room = [max(half - radius - MARGIN, 0.0) for half in extent]
    x, y = (0.88 * side * free + rng.uniform(-0.05, 0.05) for side, free in zip(toward, room, strict=True))
    return Placed(thing, x, y, radius, rng.uniform(-0.1, 0.1))


def whole(picture: Picture, step: int = 1) -> Window:
    """The window that shows all of a picture, one sample for every `step` pixels."""
    return Window(0, 0, math.ceil(picture.width / step), math.ceil(picture.height / step), step)


def render(picture: Picture, window: Window) -> Tensor:
    """[3, rows, columns] RGB in 0..1."""
    short = min(picture.width, picture.height)
    x = ((window.left + (torch.arange(window.columns) + 0.5) * window.step) * 2 - picture.width) / short
    y = ((window.top + (torch.arange(window.rows) + 0.5) * window.step) * 2 - picture.height) / short
    sample = 2 * window.step / short
    x, y = x.view(1, -1), y.view(-1, 1)
    canvas = _ground(picture, x, y, sample).expand(3, window.rows, window.columns)
    if picture.scene.style == "glow":
        canvas = canvas * 0.4
    for placed in picture.placed:
        canvas = _paint(canvas, placed, picture, x, y, sample)
    return finish(canvas, picture.look, x / picture.extent[0], y / picture.extent[1]).clamp(0, 1)


def _rgb(colour: str) -> Tensor:
    return torch.tensor(COLOURS[colour]).view(3, 1, 1) / 255


def _ground(picture: Picture, x: Tensor, y: Tensor, sample: float) -> Tensor:
    ground = picture.scene.ground
    share = _share_of_second(ground, picture.extent[1], x, y, sample)
    return torch.lerp(_rgb(ground.first), _rgb(ground.second), share)


def _share_of_second(ground: Ground, half_height: float, x: Tensor, y: Tensor, sample: float) -> Tensor:
    if ground.pattern == "gradient":
        return (y / half_height + 1).clamp(0, 2) / 2
    if ground.pattern == "stripes":
        return _bands(x, sample)
    if ground.pattern == "checks":
        across, down = _bands(x, sample), _bands(y, sample)
        return across + down - 2 * across * down
    return torch.zeros(1, 1)


def _bands(along: Tensor, sample: float) -> Tensor:
    """1 and 0 in turn, half a PERIOD each, a band's middle at the origin."""
    edge = 0.25 * PERIOD - (torch.remainder(along / PERIOD + 0.5, 1) - 0.5).abs() * PERIOD
    return (0.5 - edge / sample).clamp(0, 1)


def _paint(canvas: Tensor, placed: Placed, picture: Picture, x: Tensor, y: Tensor, sample: float) -> Tensor:
    style, look, colour = picture.scene.style, picture.look, _rgb(placed.thing.colour)
    if look.shadow:
        dark = torch.sigmoid(-_distance(placed, x - look.shadow_shift, y - look.shadow_shift) / look.shadow_blur)
        canvas = canvas * (1 - look.shadow * dark)
    distance = _distance(placed, x, y)
    if style == "outline":
        distance = distance.abs() - 0.05
    glow = 0.8 if style == "glow" else look.glow
    if glow:
        canvas = torch.lerp(canvas, colour, glow * torch.exp(-6 * distance.clamp(min=0)))
    coverage = (0.5 - distance / sample).clamp(0, 1)
    return torch.lerp(canvas, shade(colour, look, distance / placed.radius, (y - placed.y) / placed.radius), coverage)


def _distance(placed: Placed, x: Tensor, y: Tensor) -> Tensor:
    cosine, sine = math.cos(placed.angle), math.sin(placed.angle)
    across, down = (x - placed.x) / placed.radius, (y - placed.y) / placed.radius
    turned = (across * cosine - down * sine, across * sine + down * cosine)
    return DISTANCES[placed.thing.shape](*turned) * placed.radius
