"""By which hand a picture is: its rendering, and the look of the checkpoint that painted it.

A linear discriminant (Fisher's, in closed form) over `measurements`, fitted in seconds on true renderings, most of
them made worse, as painted pictures are. For pictures of 512 x 512 that show one thing.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from gesso.mini.judging.discriminant import Discriminant, fitted
from gesso.mini.judging.measurements import measurements
from gesso.mini.judging.patches import SIDE, sampled
from gesso.mini.judging.worsening import worsened
from gesso.mini.world.composition import Picture, compose, whole
from gesso.mini.world.looks import LOOKS, PLAIN, Look
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import COLOURS, GROUNDS, KINDS, PLACES, RENDERINGS, SIZES, Ground, Scene, Thing

PIXELS = 512
RENDERINGS_EACH, LOOKS_EACH = 70, 130
LIGHT = tuple(colour for colour in COLOURS if colour != "black")
"""What shading, facets and grain are seen in."""
_AT_ONCE = 64
_Draw = Callable[[str, random.Random], Picture]


@dataclass(frozen=True)
class Hand:
    """Tells by which hand, of the discriminant's names, a picture is."""

    discriminant: Discriminant

    def scores(self, pictures: Sequence[Tensor]) -> Tensor:
        """[pictures, names], of pictures [3, PIXELS, PIXELS], or averages of them."""
        return self.discriminant.scores(_measured(pictures))

    def name(self, picture: Tensor) -> str:
        """The likeliest."""
        return self.discriminant.names[int(self.scores([picture])[0].argmax())]

    def lead(self, picture: Tensor, name: str, other: str) -> float:
        """How much likelier one name is than another, as the logarithm of the odds."""
        scores, names = self.scores([picture])[0], self.discriminant.names
        return float(scores[names.index(name)] - scores[names.index(other)])


@cache
def renderings() -> Hand:
    """Tells all RENDERINGS apart, in the plain look."""
    return _fitted(RENDERINGS, lambda name, rng: lone_picture(name, PLAIN, rng), RENDERINGS_EACH)


@cache
def looks() -> Hand:
    """Tells the LOOKS apart by flat pictures."""
    return _fitted(tuple(LOOKS), lambda name, rng: lone_picture("flat", LOOKS[name], rng), LOOKS_EACH)


def lone_picture(rendering: str, look: Look, rng: random.Random) -> Picture:
    """One thing of any kind on any ground, neither of them black."""
    own, first, second = rng.sample(LIGHT, 3)
    place = "centre" if rng.random() < 0.7 else rng.choice(tuple(PLACES))
    thing = Thing(rng.choice(KINDS), own, rng.choice(SIZES[1:]) if place == "centre" else "medium", place)
    scene = Scene((thing,), Ground(rng.choice(GROUNDS), first, second), rendering)
    return compose(scene, PIXELS, PIXELS, rng, look)


def shown(picture: Picture) -> Tensor:
    """A true rendering, [3, SIDE, SIDE]."""
    return render(picture, whole(picture, PIXELS // SIDE))


def _fitted(names: tuple[str, ...], draw: _Draw, each: int) -> Hand:
    """Fit a discriminant to so many pictures of each name; a third of them are not worsened."""
    rng = random.Random(0)
    pictures, answers = [], []
    for _ in range(each):
        for number, name in enumerate(names):
            picture = shown(draw(name, rng))
            pictures.append(picture if rng.random() < 1 / 3 else worsened(picture, rng))
            answers.append(number)
    return Hand(fitted(names, _measured(pictures), torch.tensor(answers)))


def _measured(pictures: Sequence[Tensor]) -> Tensor:
    """[pictures, measurements] float64."""
    small = [sampled(picture) for picture in pictures]
    batches = (torch.stack(small[first : first + _AT_ONCE]) for first in range(0, len(small), _AT_ONCE))
    return torch.cat([measurements(batch) for batch in batches]).double()
