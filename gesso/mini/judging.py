"""Says what a picture shows by measuring it, without any trained network.

The ground is what the border shows, the thing is the largest patch that differs from it, and its shape is the one
whose outline, brought to the same box, overlaps it most. Meant for one thing on a plain ground.
"""

import random
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from scipy import ndimage
from torch import Tensor

from gesso.mini.captions import Caption
from gesso.mini.rendering import compose, render, whole
from gesso.mini.scenes import COLOURS, PLACES, SHAPES, Ground, Scene, Thing

BOX = 48
LEAST_OVERLAP = 0.6
_CENTRAL = 0.2
_TURNS = 4


@dataclass(frozen=True)
class Seen:
    """Names as in a scene; `shape` is "nothing" where no outline fits. `overlap`: intersection over union, 0..1."""

    ground: str
    colour: str
    shape: str
    place: str
    overlap: float


def look_at(picture: Tensor) -> Seen:
    """picture: [3, height, width] RGB in 0..1, at least about 32 samples a side."""
    ground = _border(picture)
    mask = _largest_patch(picture, ground)
    shape, overlap = _best_shape(_boxed(mask))
    colour = _inner_colour(picture, mask)
    return Seen(_name(ground), _name(colour), shape if overlap >= LEAST_OVERLAP else "nothing", _place(mask), overlap)


def _border(picture: Tensor) -> Tensor:
    edges = (picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1])
    return torch.cat(edges, dim=1).median(dim=1).values


def _largest_patch(picture: Tensor, ground: Tensor) -> Tensor:
    """[height, width] bool."""
    difference = (picture - ground.view(3, 1, 1)).norm(dim=0)
    differing = difference > 0.5 * difference.flatten().quantile(0.985)
    patches, count = ndimage.label(differing.numpy())
    sizes = torch.bincount(torch.from_numpy(patches).flatten(), minlength=count + 1)[1:]
    return torch.from_numpy(patches) == int(sizes.argmax()) + 1


def _inner_colour(picture: Tensor, mask: Tensor) -> Tensor:
    inner = torch.from_numpy(ndimage.binary_erosion(mask.numpy()))
    return picture[:, inner if inner.any() else mask].median(dim=1).values


def _name(colour: Tensor) -> str:
    table = torch.tensor(list(COLOURS.values())) / 255
    return list(COLOURS)[int((table - colour).norm(dim=1).argmin())]


def _extent(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _boxed(mask: Tensor) -> Tensor:
    """The patch in a square box of BOX x BOX samples, its longer side filling it."""
    top, bottom, left, right = _extent(mask)
    part = mask[top:bottom, left:right].float()
    missing = part.shape[0] - part.shape[1]
    sides = (max(missing, 0) // 2, max(missing, 0) - max(missing, 0) // 2)
    ends = (max(-missing, 0) // 2, max(-missing, 0) - max(-missing, 0) // 2)
    square = F.pad(part, (*sides, *ends))
    return F.interpolate(square[None, None], size=(BOX, BOX), mode="bilinear", antialias=True)[0, 0] > 0.5


@cache
def _templates() -> tuple[tuple[str, Tensor], ...]:
    rng = random.Random(0)
    return tuple((shape, _boxed(_drawn(shape, rng))) for shape in SHAPES for _ in range(_TURNS))


def _drawn(shape: str, rng: random.Random) -> Tensor:
    scene = Scene((Thing(shape, "white", "large", "centre"),), Ground("plain", "black", "red"))
    picture = compose(scene, 512, 512, rng)
    return render(picture, whole(picture, 4))[0] > 0.5


def _best_shape(boxed: Tensor) -> tuple[str, float]:
    overlaps = [(_overlap(boxed, template), shape) for shape, template in _templates()]
    overlap, shape = max(overlaps)
    return shape, overlap


def _overlap(first: Tensor, second: Tensor) -> float:
    return ((first & second).sum() / (first | second).sum()).item()


def _place(mask: Tensor) -> str:
    top, bottom, left, right = _extent(mask)
    height, width = mask.shape
    short = min(height, width)
    across, down = (left + right - width) / short, (top + bottom - height) / short
    toward = tuple(0 if abs(offset) < _CENTRAL else int(offset > 0) * 2 - 1 for offset in (across, down))
    return next(name for name, direction in PLACES.items() if direction == toward)


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def examination(rng: random.Random, count: int) -> list[tuple[Scene, Caption]]:
    """Scenes that can be measured, every shape equally often, with the plainest of captions."""
    chosen = []
    for number in range(count):
        colour, ground = rng.sample(tuple(COLOURS), 2)
        place = "centre" if number % 2 else rng.choice(tuple(PLACES)[1:5])
        thing = Thing(SHAPES[number % len(SHAPES)], colour, "medium", place)
        words = "" if place == "centre" else f" {'on the' if place in ('left', 'right') else 'at the'} {place}"
        text = f"{_article(colour)} {thing.shape}{words} on {_article(ground)} background"
        named = frozenset({"shape", "colour", "place", "ground"})
        chosen.append((Scene((thing,), Ground("plain", ground, ground)), Caption(text, named)))
    return chosen
