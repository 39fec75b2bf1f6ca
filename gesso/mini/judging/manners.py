"""By which hand a picture is: its rendering, and the look of the checkpoint that painted it.

A linear discriminant (Fisher's, in closed form) over `measurements`, fitted in seconds on true renderings, most of
them made worse, as painted pictures are. For pictures of 512 x 512 that show one thing.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from gesso.mini.judging.measurements import CELL, measurements
from gesso.mini.judging.patches import SIDE, sampled
from gesso.mini.world.composition import Picture, compose, whole
from gesso.mini.world.looks import LOOKS, PLAIN, Look
from gesso.mini.world.paints import grey
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import COLOURS, GROUNDS, KINDS, PLACES, RENDERINGS, SIZES, Ground, Scene, Thing

PIXELS = 512
RENDERINGS_EACH, LOOKS_EACH = 70, 130
LIGHT = tuple(colour for colour in COLOURS if colour != "black")
"""What shading, facets and grain are seen in."""
_RIDGE = 0.02
_FAR = 4
"""Samples to a side that a blur reaches."""
_AT_ONCE = 64
_Draw = Callable[[str, random.Random], Picture]


@dataclass(frozen=True)
class Discriminant:
    """Tells `names` apart: the score of each is linear in what is measured, after `mean` and `deviation` are taken out.
    `directions`: [measurements, names], `offsets`: [names], float64."""

    names: tuple[str, ...]
    mean: Tensor
    deviation: Tensor
    directions: Tensor
    offsets: Tensor

    def scores(self, pictures: Sequence[Tensor]) -> Tensor:
        """[pictures, names], of pictures [3, PIXELS, PIXELS], or averages of them."""
        measured = _measured(pictures)
        return (measured - self.mean) / self.deviation @ self.directions + self.offsets

    def name(self, picture: Tensor) -> str:
        """The likeliest."""
        return self.names[int(self.scores([picture])[0].argmax())]

    def lead(self, picture: Tensor, name: str, other: str) -> float:
        """How much likelier one name is than another, as the logarithm of the odds."""
        scores = self.scores([picture])[0]
        return float(scores[self.names.index(name)] - scores[self.names.index(other)])


@cache
def renderings() -> Discriminant:
    """Tells all RENDERINGS apart, in the plain look."""
    return _fitted(RENDERINGS, lambda name, rng: lone_picture(name, PLAIN, rng), RENDERINGS_EACH)


@cache
def looks() -> Discriminant:
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


def worsened(picture: Tensor, rng: random.Random) -> Tensor:
    """Blurred, noisy and blotchy, its colours shifted and too strong or too weak, as those of painted pictures are."""
    chance = torch.Generator().manual_seed(rng.randrange(2**31))
    worse = _blurred(picture, rng.uniform(0.05, 1.5))
    worse = torch.lerp(grey(worse), worse, rng.uniform(0.8, 1.6))
    worse = (worse - 0.5) * rng.uniform(0.85, 1.4) + 0.5
    worse = worse + rng.uniform(0, 0.05) * torch.randn(picture.shape, generator=chance)
    for size in (CELL // 2, CELL):
        worse = worse + rng.uniform(0, 0.08) * _blotches(size, chance)
    factors, shifts = (torch.rand(3, 1, 1, generator=chance) - 0.5 for _ in range(2))
    return (worse * (1 + 0.06 * factors) + 0.04 * shifts).clamp(0, 1)


def _blotches(size: int, chance: torch.Generator) -> Tensor:
    """[3, SIDE, SIDE] of chance in brightness and in colour, the same over so many samples."""
    colours, lights = (torch.randn(1, planes, SIDE // size, SIDE // size, generator=chance) for planes in (3, 1))
    return F.interpolate(0.6 * (colours + lights), scale_factor=size)[0]


def _blurred(picture: Tensor, deviation: float) -> Tensor:
    weights = torch.exp(-((torch.arange(-_FAR, _FAR + 1) / deviation) ** 2) / 2)
    weights = weights / weights.sum()
    padded = F.pad(picture.unsqueeze(1), (_FAR,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1)).squeeze(1)


def _fitted(names: tuple[str, ...], draw: _Draw, each: int) -> Discriminant:
    """Fit a discriminant to so many pictures of each name; a third of them are not worsened."""
    rng = random.Random(0)
    pictures, answers = [], []
    for _ in range(each):
        for number, name in enumerate(names):
            picture = shown(draw(name, rng))
            pictures.append(picture if rng.random() < 1 / 3 else worsened(picture, rng))
            answers.append(number)
    return _discriminant(names, _measured(pictures), torch.tensor(answers))


def _discriminant(names: tuple[str, ...], measured: Tensor, answers: Tensor) -> Discriminant:
    """Fisher's, its covariance drawn a little towards the identity, since many measurements go together."""
    mean, deviation = measured.mean(0), measured.std(0) + 1e-6
    scaled = (measured - mean) / deviation
    centres = torch.stack([scaled[answers == number].mean(0) for number in range(len(names))])
    around = scaled - centres[answers]
    covariance = around.T @ around / len(around)
    covariance = torch.lerp(covariance, torch.eye(len(covariance), dtype=covariance.dtype), _RIDGE)
    directions = torch.linalg.solve(covariance, centres.T)
    return Discriminant(names, mean, deviation, directions, -(centres.T * directions).sum(0) / 2)


def _measured(pictures: Sequence[Tensor]) -> Tensor:
    """[pictures, measurements] float64."""
    small = [sampled(picture) for picture in pictures]
    batches = (torch.stack(small[first : first + _AT_ONCE]) for first in range(0, len(small), _AT_ONCE))
    return torch.cat([measurements(batch) for batch in batches]).double()
