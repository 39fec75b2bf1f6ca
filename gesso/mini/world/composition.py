"""Where the things of a scene are put in a picture of some size, and which part of it is looked at.

Lengths are in halves of the picture's short side, the origin is its centre, y points down.
"""

import math
import random
from dataclasses import dataclass

from gesso.mini.world.looks import PLAIN, Look
from gesso.mini.world.scenes import PLACES, Scene, Thing

RADII = {"small": (0.22, 0.27), "medium": (0.42, 0.5), "large": (0.68, 0.78)}
PAIR_RADII = (0.34, 0.4)
ROW_RADII = {2: 0.36, 3: 0.27, 4: 0.3}
SPOTS: dict[int, tuple[tuple[float, float], ...]] = {
    2: ((-0.45, 0.0), (0.45, 0.0)),
    3: ((-0.64, 0.0), (0.0, 0.0), (0.64, 0.0)),
    4: ((-0.42, -0.42), (0.42, -0.42), (-0.42, 0.42), (0.42, 0.42)),
}
SMALLEST_SIDE = 512
MARGIN = 0.1


@dataclass(frozen=True)
class Placed:
    """A thing at a point, its radius in halves of the short side and its turn in radians."""

    thing: Thing
    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class Picture:
    """A scene composed for a picture of `width` x `height` pixels. `chance`, 0..1, is what its textures differ by."""

    scene: Scene
    width: int
    height: int
    placed: tuple[Placed, ...]
    chance: float
    look: Look = PLAIN

    @property
    def extent(self) -> tuple[float, float]:
        """Half the width and half the height in halves of the short side."""
        short = min(self.width, self.height)
        return self.width / short, self.height / short

    @property
    def scale(self) -> float:
        """What lengths shrink by in larger pictures."""
        return math.sqrt(SMALLEST_SIDE / max(min(self.width, self.height), SMALLEST_SIDE))


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
    empty = Picture(scene, width, height, (), rng.random(), look)
    placed = _several(empty, rng) if scene.count > 1 else _each(empty, rng)
    return Picture(scene, width, height, tuple(placed), empty.chance, look)


def _each(picture: Picture, rng: random.Random) -> list[Placed]:
    scene, placed = picture.scene, []
    for thing in scene.things:
        between = RADII[thing.size] if len(scene.things) == 1 else PAIR_RADII
        radius = rng.uniform(*between) * picture.scale * _stretch(thing, scene.weight("size"))
        room = [max(half - radius - MARGIN, 0.0) for half in picture.extent]
        x, y = (0.88 * side * free for side, free in zip(PLACES[thing.place], room, strict=True))
        placed.append(_put(thing, x, y, radius, rng))
    return placed


def _stretch(thing: Thing, weight: float) -> float:
    """A size that is meant more strongly is further from the middle one."""
    return float(weight ** {"small": -0.6, "medium": 0.0, "large": 0.5}[thing.size])


def _several(picture: Picture, rng: random.Random) -> list[Placed]:
    count, thing = picture.scene.count, picture.scene.things[0]
    scale = picture.scale
    return [_put(thing, x * scale, y * scale, ROW_RADII[count] * scale, rng) for x, y in SPOTS[count]]


def _put(thing: Thing, x: float, y: float, radius: float, rng: random.Random) -> Placed:
    return Placed(thing, x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04), radius, rng.uniform(-0.1, 0.1))


def whole(picture: Picture, step: int = 1) -> Window:
    """The window that shows all of a picture, one sample for every `step` pixels."""
    return Window(0, 0, math.ceil(picture.width / step), math.ceil(picture.height / step), step)
