"""What the world of the embedded model holds: things of a shape and a colour, at a place, on a ground.

A scene says what there is, in words. How it is drawn is `rendering`'s business, how it is told `captions`'.
To enlarge the world, add a name here, its outline in `shapes` and its words in `captions`.
"""

import random
from dataclasses import dataclass

from gesso.mini.shapes import DISTANCES

SHAPES = tuple(DISTANCES)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 35),
    "orange": (245, 135, 20),
    "yellow": (250, 220, 40),
    "green": (35, 155, 60),
    "cyan": (50, 205, 220),
    "blue": (30, 70, 215),
    "purple": (125, 45, 170),
    "pink": (250, 130, 180),
    "white": (248, 248, 248),
    "black": (15, 15, 15),
    "gray": (128, 128, 128),
    "brown": (120, 72, 35),
}
SIZES = ("small", "medium", "large")
PLACES: dict[str, tuple[int, int]] = {
    "centre": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
}
PATTERNS = ("plain", "gradient", "stripes", "checks")
STYLES = ("flat", "outline", "glow")


@dataclass(frozen=True)
class Thing:
    shape: str
    colour: str
    size: str
    place: str


@dataclass(frozen=True)
class Ground:
    """A plain ground shows its first colour only."""

    pattern: str
    first: str
    second: str


@dataclass(frozen=True)
class Scene:
    """One thing, or two: the first left of the second or above it."""

    things: tuple[Thing, ...]
    ground: Ground
    style: str = "flat"


def sample_scene(rng: random.Random, plain_share: float) -> Scene:
    """Draw a scene; `plain_share` of them show one flat thing on a plain ground, mostly in the middle."""
    colours = rng.sample(tuple(COLOURS), 4)
    if rng.random() < plain_share:
        return _plain_scene(rng, colours)
    ground = Ground(rng.choices(PATTERNS, (0.58, 0.22, 0.1, 0.1))[0], colours[2], colours[3])
    style = rng.choices(STYLES, (0.8, 0.08, 0.12))[0]
    if rng.random() < 0.22:
        return Scene(_pair(rng, colours), ground, style)
    return Scene((_lone_thing(rng, colours[0]),), ground, style)


def _plain_scene(rng: random.Random, colours: list[str]) -> Scene:
    place = "centre" if rng.random() < 0.65 else rng.choice(tuple(PLACES)[1:5])
    size = rng.choice(SIZES[1:]) if place == "centre" else "medium"
    return Scene((Thing(rng.choice(SHAPES), colours[0], size, place),), Ground("plain", colours[2], colours[3]))


def _lone_thing(rng: random.Random, colour: str) -> Thing:
    place = "centre" if rng.random() < 0.4 else rng.choice(tuple(PLACES)[1:5] * 3 + tuple(PLACES)[5:])
    sizes = (0.2, 0.5, 0.3) if place == "centre" else (0.4, 0.6, 0.0)
    return Thing(rng.choice(SHAPES), colour, rng.choices(SIZES, sizes)[0], place)


def _pair(rng: random.Random, colours: list[str]) -> tuple[Thing, Thing]:
    places = rng.choices((("left", "right"), ("top", "bottom")), (0.7, 0.3))[0]
    first, second = rng.choice(SHAPES), rng.choice(SHAPES)
    return Thing(first, colours[0], "medium", places[0]), Thing(second, colours[1], "medium", places[1])
