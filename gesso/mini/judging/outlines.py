"""The outlines of things, to hold a patch against: where its centre is, and where it has the thing's own colour."""

from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from scipy import ndimage
from torch import Tensor

from gesso.mini.judging.patches import DIFFERENT, boxed, edges
from gesso.mini.world.composition import Picture, Placed, Window
from gesso.mini.world.drawing import Figure, draw
from gesso.mini.world.objects import OBJECTS, OWN
from gesso.mini.world.paints import named
from gesso.mini.world.scenes import Ground, Scene, Thing

TURNS = (-0.06, 0.06)
_SIDE, _RADIUS = 96, 0.75
_STRANGE = 0.5
"""What a wholly other colour counts against an overlap."""


@dataclass(frozen=True)
class Extent:
    """The middle of a patch's box, and its longer side, in samples."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Outline:
    """What is seen of a thing: `box` and of it `own`, what has the thing's own colour, both [BOX * BOX] bool; `colours`
    [3, BOX * BOX]; its `extent` when it is drawn in the middle of _SIDE x _SIDE samples."""

    kind: str
    box: Tensor
    own: Tensor
    colours: Tensor
    extent: Extent


@dataclass(frozen=True)
class Fit:
    """The `outline` of a kind that is most like a patch, and how alike they are. `overlap`: intersection over union,
    0..1. The thing's centre (not its box's: a moon's is beside its disc's) and radius are in samples."""

    outline: Outline
    likeness: float
    overlap: float
    x: float
    y: float
    radius: float


def fit(picture: Tensor, patch: Tensor, kind: str, colour: str, ground: str) -> Fit:
    """Hold a patch [height, width] of a picture [3, height, width] against the outlines of a kind in a colour on a
    ground: what the ground swallows (a boat's white sails on white) is missing from them too.

    Other colours inside count against an outline.
    """
    outlines, boxes, painted = _outlines(kind, colour, ground)
    box, colours = boxed(patch.float(), patch).flatten() > 0.5, boxed(picture, patch).flatten(1)
    common = boxes & box
    overlaps = common.sum(1) / (boxes | box).sum(1)
    away = (painted - colours).square().sum(1).sqrt().clamp(max=1)
    strange = (away * common).sum(1) / common.sum(1).clamp(min=1)
    likeness = overlaps - _STRANGE * strange
    best = int(likeness.argmax())
    return _placed(outlines[best], float(likeness[best]), float(overlaps[best]), extent(patch))


def _placed(outline: Outline, likeness: float, overlap: float, seen: Extent) -> Fit:
    scale, middle = seen.side / outline.extent.side, _SIDE / 2
    x, y = seen.x + scale * (middle - outline.extent.x), seen.y + scale * (middle - outline.extent.y)
    return Fit(outline, likeness, overlap, x, y, scale * _RADIUS * middle)


def extent(mask: Tensor) -> Extent:
    top, bottom, left, right = edges(mask)
    return Extent((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top))


@lru_cache(maxsize=1024)
def _outlines(kind: str, colour: str, ground: str) -> tuple[tuple[Outline, ...], Tensor, Tensor]:
    """And their boxes, [outlines, BOX * BOX], and colours, [outlines, 3, BOX * BOX]."""
    behind = named(ground).view(3, 1)
    outlines = tuple(_outline(kind, turn, colour, behind) for turn in TURNS)
    return outlines, torch.stack([one.box for one in outlines]), torch.stack([one.colours for one in outlines])


def _outline(kind: str, turn: float, colour: str, ground: Tensor) -> Outline:
    """`ground`: [3, 1]."""
    paints = _paints(kind, colour)
    visible = (paints - ground).square().sum(0) > DIFFERENT**2
    parts, own, extent = _seen(kind, turn, tuple(visible.tolist()))
    return Outline(kind, parts >= 0, own, paints[:, parts.clamp(min=0)], extent)


@cache
def _paints(kind: str, colour: str) -> Tensor:
    """[3, parts]."""
    layers = _figure(kind, colour, 0.0, Window(0, 0, 1, 1)).layers
    return torch.cat([layer.colour.view(3, 1) for layer in layers], dim=1)


@cache
def _seen(kind: str, turn: float, visible: tuple[bool, ...]) -> tuple[Tensor, Tensor, Extent]:
    """[BOX * BOX] twice: the number of the visible part, -1 beside them all; and whether it is well inside those that
    have the thing's own colour."""
    top = _top_parts(kind, turn)
    masks = torch.stack([(top == number) & visible[number] for number in range(len(visible))])
    mask = masks.any(0)
    shares = boxed(masks.float(), mask).flatten(1)
    numbers = torch.where(shares.sum(0) > 0.5, shares.argmax(0), -1)
    own = masks[[part.paint == OWN for part in OBJECTS[kind]]].any(0)
    inner = torch.from_numpy(ndimage.binary_erosion(own.numpy())).float()
    return numbers, boxed(inner, mask).flatten() > 0.5, extent(mask)


@cache
def _top_parts(kind: str, turn: float) -> Tensor:
    """[_SIDE, _SIDE]: the number of the part that covers the others there, -1 beside them all."""
    layers = _figure(kind, "white", turn, Window(0, 0, _SIDE, _SIDE)).layers
    numbers = torch.arange(len(layers)).view(-1, 1, 1)
    return torch.where(torch.stack([layer.distance < 0 for layer in layers]), numbers, -1).amax(0)


def _figure(kind: str, colour: str, turn: float, window: Window) -> Figure:
    thing = Thing(kind, colour, "large", "centre")
    scene = Scene((thing,), Ground("plain", "white", "black"))
    picture = Picture(scene, _SIDE, _SIDE, (Placed(thing, 0.0, 0.0, _RADIUS, turn),), chance=0.0)
    return draw(picture, window).figures[0]
