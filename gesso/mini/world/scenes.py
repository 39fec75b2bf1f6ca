"""What the world of the embedded model holds: things of a kind and a colour, at a place, on a ground.

A scene says what there is, in words. How it is drawn is `drawing`'s and `rendering`'s business, how it is told
`captions`'. To enlarge the world, add a name here, its outline in `objects` and its words in `vocabulary`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gesso.mini.world.objects import OBJECTS

KINDS = tuple(OBJECTS)
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
VIEWS = ("sky", "sea", "night", "grass", "sunset")
GROUNDS = PATTERNS + VIEWS
RENDERINGS = (
    "flat",
    "line art",
    "watercolor",
    "oil painting",
    "pixel art",
    "crayon",
    "neon",
    "stained glass",
    "blueprint",
    "clay",
    "papercut",
    "comic",
    "monochrome",
    "silhouette",
    "pointillism",
    "low poly",
)
TEXTURED = ("pixel art", "crayon", "comic", "pointillism", "low poly")
"""Renderings that are known by their fine patterns, which are learnt last."""
EMPHASISED = ("colour", "size", "rendering")

NATURAL: dict[str, tuple[str, str]] = {
    "moon": ("yellow", "night"),
    "sun": ("yellow", "sky"),
    "flower": ("pink", "grass"),
    "tree": ("green", "grass"),
    "house": ("red", "grass"),
    "mountain": ("gray", "sky"),
    "cloud": ("white", "sky"),
    "boat": ("brown", "sea"),
    "fish": ("orange", "sea"),
    "cat": ("gray", "plain"),
    "mushroom": ("red", "grass"),
    "butterfly": ("orange", "sky"),
}
"""The colour and the ground that a thing has when nothing else is said. Plain shapes have none of their own."""
BARE = "white"
"""The plain ground of what is said to be on none."""


@dataclass(frozen=True)
class Thing:
    kind: str
    colour: str
    size: str
    place: str


@dataclass(frozen=True)
class Ground:
    """A plain ground shows its first colour only, a view (`VIEWS`) neither."""

    pattern: str
    first: str
    second: str


@dataclass(frozen=True)
class Emphasis:
    """How strongly one of `EMPHASISED` is meant: 1 is as usual."""

    attribute: str
    weight: float


@dataclass(frozen=True)
class Scene:
    """One thing, `count` times, or two: the first left of the second or above it."""

    things: tuple[Thing, ...]
    ground: Ground
    rendering: str = "flat"
    count: int = 1
    emphasis: Emphasis | None = None

    def weight(self, attribute: str) -> float:
        """How strongly an attribute is meant."""
        return self.emphasis.weight if self.emphasis and self.emphasis.attribute == attribute else 1.0


@dataclass(frozen=True)
class Mixture:
    """Shares of what is drawn: one flat thing on a plain ground, mostly in the middle; of the rest, pairs, several of a
    kind, and other renderings than flat; of all, what says something more or less strongly than usual. TEXTURED
    renderings are `textured` times as frequent as others."""

    plain: float
    pairs: float = 0.3
    several: float = 0.1
    rendered: float = 0.5
    emphasised: float = 0.12
    textured: float = 1.0


def sample_scene(rng: random.Random, mixture: Mixture) -> Scene:
    """Draw a scene; no two of its colours are the same."""
    colours = rng.sample(tuple(COLOURS), 4)
    if rng.random() < mixture.plain:
        return _emphasised(_plain_scene(rng, colours), mixture.emphasised, rng)
    if rng.random() < 0.15:
        return natural(_lone_thing(rng, colours[0]), rng)
    ground = _ground(rng, colours)
    rendering = _rendering(mixture, rng) if rng.random() < mixture.rendered else "flat"
    chance = rng.random()
    if chance < mixture.pairs:
        scene = Scene(_pair(rng, colours), ground, rendering)
    elif chance < mixture.pairs + mixture.several:
        thing = Thing(rng.choice(KINDS), colours[0], "medium", "centre")
        scene = Scene((thing,), ground, rendering, count=rng.choice((2, 3, 4)))
    else:
        scene = Scene((_lone_thing(rng, colours[0]),), ground, rendering)
    return _emphasised(scene, mixture.emphasised, rng)


def _rendering(mixture: Mixture, rng: random.Random) -> str:
    others = RENDERINGS[1:]
    return rng.choices(others, [mixture.textured if name in TEXTURED else 1.0 for name in others])[0]


def natural(thing: Thing, rng: random.Random) -> Scene:
    """What is meant where no ground is named, and now and then no colour either."""
    colour, pattern = NATURAL.get(thing.kind, (thing.colour, "plain"))
    if rng.random() < 0.5:
        thing = replace(thing, colour=colour)
    bare = BARE if thing.colour != BARE else "gray"
    return Scene((thing,), Ground(pattern, bare, "black"), rng.choice(RENDERINGS) if rng.random() < 0.3 else "flat")


def _plain_scene(rng: random.Random, colours: Sequence[str]) -> Scene:
    place = "centre" if rng.random() < 0.75 else rng.choice(tuple(PLACES)[1:5])
    size = rng.choice(SIZES[1:]) if place == "centre" else "medium"
    return Scene((Thing(rng.choice(KINDS), colours[0], size, place),), Ground("plain", colours[2], colours[3]))


def _ground(rng: random.Random, colours: Sequence[str]) -> Ground:
    pattern = rng.choices(GROUNDS, (0.5, 0.12, 0.05, 0.05, 0.06, 0.06, 0.06, 0.06, 0.04))[0]
    return Ground(pattern, colours[2], colours[3])


def _lone_thing(rng: random.Random, colour: str) -> Thing:
    place = "centre" if rng.random() < 0.45 else rng.choice(tuple(PLACES)[1:5] * 3 + tuple(PLACES)[5:])
    sizes = (0.2, 0.45, 0.35) if place == "centre" else (0.35, 0.65, 0.0)
    return Thing(rng.choice(KINDS), colour, rng.choices(SIZES, sizes)[0], place)


def _pair(rng: random.Random, colours: Sequence[str]) -> tuple[Thing, Thing]:
    places = rng.choice((("left", "right"), ("top", "bottom")))
    first, second = rng.sample(KINDS, 2)
    return Thing(first, colours[0], "medium", places[0]), Thing(second, colours[1], "medium", places[1])


def _emphasised(scene: Scene, share: float, rng: random.Random) -> Scene:
    """In a share of scenes something is meant more or less strongly than usual."""
    if rng.random() > share:
        return scene
    meant = [name for name in EMPHASISED if _can_be_emphasised(scene, name)]
    return replace(scene, emphasis=Emphasis(rng.choice(meant), round(rng.uniform(0.4, 1.7), 2))) if meant else scene


def _can_be_emphasised(scene: Scene, attribute: str) -> bool:
    first = scene.things[0]
    return {
        "colour": first.colour not in ("white", "black", "gray", "brown"),
        "size": first.size != "medium" and len(scene.things) == 1,
        "rendering": scene.rendering != "flat",
    }[attribute]
