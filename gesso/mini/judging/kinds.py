"""Which kind of thing a patch of a picture shows.

A linear discriminant over what a patch looks like in a square of its own, fitted in seconds on true renderings of
things, most of them bent and made worse, as painted ones are.
"""

import math
import random
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from gesso.mini.judging.discriminant import Discriminant, fitted
from gesso.mini.judging.patches import border, boxed, edges, patches, standing_out
from gesso.mini.judging.worsening import worsened
from gesso.mini.world.composition import Picture, Placed, Window
from gesso.mini.world.drawing import Warp, draw
from gesso.mini.world.painted import flat
from gesso.mini.world.scenes import COLOURS, KINDS, Ground, Scene, Thing

EACH = 120
"""Renderings of each kind."""
_SIDE = 64
_RADII = 0.55, 0.78
_TURNED, _STRETCHED, _BENT = 0.1, 0.12, 0.07
"""At most: radians, a share, and radii."""
_UNLIKE = 0.6
"""Colours further apart than this are wholly different."""


def likeliest(picture: Tensor, patch: Tensor) -> str:
    """Of KINDS; `patch` is a mask [height, width] of a picture [3, height, width] with a plain ground."""
    return KINDS[int(_kinds().scores(_measured(picture, patch)[None])[0].argmax())]


@cache
def _kinds() -> Discriminant:
    rng = random.Random(0)
    measured, answers = [], []
    for _ in range(EACH):
        for number, kind in enumerate(KINDS):
            picture = _rendered(kind, rng)
            if found := patches(standing_out(picture, border(picture))):
                measured.append(_measured(picture, found[0]))
                answers.append(number)
    return fitted(KINDS, torch.stack(measured), torch.tensor(answers))


def _measured(picture: Tensor, patch: Tensor) -> Tensor:
    """Where the patch is, how far from the ground it is there and how far from its own main colour, and its form."""
    own = picture[:, patch].median(dim=1).values
    maps = torch.stack([patch.float(), _away(picture, border(picture)), _away(picture, own)])
    top, bottom, left, right = edges(patch)
    form = torch.tensor([3 * math.log((bottom - top) / (right - left))])
    return torch.cat([F.avg_pool2d(boxed(maps, patch)[None], 2).flatten(), form]).double()


def _away(picture: Tensor, colour: Tensor) -> Tensor:
    """[height, width], 0..1."""
    return ((picture - colour.view(3, 1, 1)).square().sum(0).sqrt() / _UNLIKE).clamp(max=1)


def _rendered(kind: str, rng: random.Random) -> Tensor:
    """[3, _SIDE, _SIDE]; one in three is as it should be."""
    own, ground = rng.sample(tuple(COLOURS), 2)
    thing = Thing(kind, own, "large", "centre")
    placed = Placed(thing, 0.0, 0.0, rng.uniform(*_RADII), rng.uniform(-_TURNED, _TURNED))
    picture = Picture(Scene((thing,), Ground("plain", ground, ground)), _SIDE, _SIDE, (placed,), chance=0.0)
    window = Window(0, 0, _SIDE, _SIDE)
    if rng.random() < 1 / 3:
        return flat(draw(picture, window), picture).clamp(0, 1)
    return worsened(flat(draw(picture, window, _bent(rng)), picture).clamp(0, 1), rng)


def _bent(rng: random.Random) -> Warp:
    """Stretched, and moved to and fro in slow waves."""
    stretch, far = 1 + rng.uniform(-_STRETCHED, _STRETCHED), rng.uniform(0, _BENT)
    waves = [(rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi), rng.uniform(2, 5)) for _ in range(2)]

    def moved(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        across, down = (
            far * torch.sin(swing * (x * math.cos(turn) + y * math.sin(turn)) + phase) for turn, phase, swing in waves
        )
        return x * stretch + across, y / stretch + down

    return moved
