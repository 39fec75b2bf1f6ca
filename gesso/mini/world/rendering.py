"""Paints a scene exactly, at any size and from any window: the teacher of the embedded model.

Edges are smoothed analytically over one sample, so that a coarse rendering is close to the average of a fine one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.mini.world import built, lined, painted
from gesso.mini.world.composition import Picture, Window
from gesso.mini.world.drawing import Drawing, Warp, draw
from gesso.mini.world.looks import finish


@dataclass(frozen=True)
class Manner:
    """How a rendering paints a drawing, and what it does beforehand to where things are looked up."""

    paint: Callable[[Drawing, Picture], Tensor]
    warp: Callable[[Picture], Warp] | None = None


def render(picture: Picture, window: Window) -> Tensor:
    """[3, rows, columns] RGB in 0..1."""
    scene = picture.scene
    manner = MANNERS[scene.rendering]
    drawing = draw(picture, window, manner.warp(picture) if manner.warp else None)
    canvas = manner.paint(drawing, picture)
    strength = scene.weight("rendering")
    if strength < 1 and scene.rendering != "flat":
        canvas = torch.lerp(painted.flat(draw(picture, window), picture), canvas, strength)
    across, down = drawing.x / picture.extent[0], drawing.y / picture.extent[1]
    return finish(canvas, picture.look, across, down).clamp(0, 1)


MANNERS: dict[str, Manner] = {
    "flat": Manner(painted.flat),
    "line art": Manner(lined.line_art),
    "watercolor": Manner(painted.watercolor, painted.wobbly(0.018, 0.35)),
    "oil painting": Manner(painted.oil_painting, painted.wobbly(0.02, 0.22)),
    "pixel art": Manner(built.pixel_art, built.snapped_to_blocks),
    "crayon": Manner(painted.crayon, painted.wobbly(0.015, 0.25)),
    "neon": Manner(lined.neon),
    "stained glass": Manner(lined.stained_glass),
    "blueprint": Manner(lined.blueprint),
    "clay": Manner(built.clay),
    "papercut": Manner(built.papercut),
    "comic": Manner(lined.comic),
    "monochrome": Manner(built.monochrome),
    "silhouette": Manner(built.silhouette),
    "pointillism": Manner(painted.pointillism),
    "low poly": Manner(built.low_poly),
}
