"""Renderings in colour: flat, and with brush, wax and dots.

Fine textures repeat with the cells of the latent (32 pixels), so that a decoder can learn them by heart.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gesso.mini.models import FACTOR
from gesso.mini.world.composition import Picture
from gesso.mini.world.drawing import Drawing, Figure, Warp
from gesso.mini.world.grounds import cell_number
from gesso.mini.world.looks import Look, backdrop, glowing, lit, shadowed
from gesso.mini.world.paints import PAPER, WHITE


def filled(drawing: Drawing, canvas: Tensor) -> Tensor:
    """Every part in its colour."""
    for figure in drawing.figures:
        for layer in figure.layers:
            canvas = torch.lerp(canvas, layer.colour, drawing.coverage(layer.distance))
    return canvas


def flat(drawing: Drawing, picture: Picture) -> Tensor:
    """Plain colours, in the light and with the shadows of the picture's look."""
    look = picture.look
    canvas = backdrop(drawing.ground, drawing.x / picture.extent[0], drawing.y / picture.extent[1], look)
    for figure in drawing.figures:
        canvas = shadowed(canvas, figure.distance, figure.down, figure.radius, look)
        canvas = glowing(canvas, figure.layers[-1].colour, figure.distance, figure.radius, look)
        for layer in figure.layers:
            canvas = torch.lerp(canvas, _surface(layer.colour, figure, look), drawing.coverage(layer.distance))
    return canvas


def _surface(colour: Tensor, figure: Figure, look: Look) -> Tensor:
    return lit(colour, figure.distance, figure.across, figure.down, figure.radius, look)


def _waves(drawing: Drawing, length: float, seed: float) -> Tensor:
    """Smooth chance, -1..1, about so long."""
    total = torch.zeros(1, 1)
    for number in range(4):
        turn = 2.4 * number + 6.28 * (drawing.chance + seed)
        swing = 2 * math.pi / (length * drawing.scale) * (0.8 + 0.25 * number)
        phase = 19 * drawing.chance * (number + 1) + seed
        total = total + torch.sin(swing * (drawing.x * math.cos(turn) + drawing.y * math.sin(turn)) + phase)
    return total / 4


def wobbly(amount: float, length: float) -> Callable[[Picture], Warp]:
    """Unsteady outlines."""

    def of(picture: Picture) -> Warp:
        reach, swing, phase = amount * picture.scale, 2 * math.pi / (length * picture.scale), 40 * picture.chance

        def moved(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            across = torch.sin(y * swing + phase) + torch.sin(x * swing * 0.7 + 2 * phase)
            down = torch.sin(x * swing + 3 * phase) + torch.sin(y * swing * 0.7 + 4 * phase)
            return x + reach * across, y + reach * down

        return moved

    return of


def watercolor(drawing: Drawing, picture: Picture) -> Tensor:
    """Uneven transparent washes, darker along their edges, paper showing through."""
    cloudy = _waves(drawing, 0.6, 0.0)
    canvas = torch.lerp(PAPER, drawing.ground, 0.45 + 0.2 * cloudy)
    for figure in drawing.figures:
        for layer in figure.layers:
            edge = torch.exp(-((layer.distance / (0.035 * drawing.scale)) ** 2))
            soft = torch.sigmoid(-layer.distance / (0.012 * drawing.scale))
            pigment = (0.72 + 0.2 * cloudy + 0.3 * edge) * soft
            canvas = torch.lerp(canvas, layer.colour * (1 - 0.25 * edge), pigment.clamp(0, 1))
    return canvas


def _strokes(drawing: Drawing) -> Tensor:
    """Streaks of a brush, -1..1: patches of stripes in two directions."""
    one = torch.sin((drawing.column + drawing.row) * (2 * math.pi / FACTOR))
    other = torch.sin((drawing.column - drawing.row) * (2 * math.pi / FACTOR))
    share = (2.5 * _waves(drawing, 0.7, 0.3)).clamp(-1, 1) / 2 + 0.5
    return one * share + other * (1 - share)


def oil_painting(drawing: Drawing, picture: Picture) -> Tensor:
    """Broad streaky strokes, lighter and darker, in full colours."""
    canvas = filled(drawing, drawing.ground)
    streaks = _strokes(drawing)
    lightened = torch.where(streaks > 0, torch.lerp(canvas, WHITE, 0.3 * streaks.clamp(min=0)), canvas)
    return lightened * (1 + 0.38 * streaks.clamp(max=0))


def _hatching(drawing: Drawing, share: float) -> Tensor:
    """Slanting strokes that cover about a share of the paper, 0..1."""
    phase = ((drawing.column + drawing.row) / FACTOR).remainder(1)
    return ((share / 2 - (phase - 0.5).abs()) * 8 + 0.5).clamp(0, 1)


def crayon(drawing: Drawing, picture: Picture) -> Tensor:
    """Slanting strokes of wax on white paper, unevenly pressed."""
    pressed = 0.85 + 0.15 * _waves(drawing, 0.5, 0.7)
    canvas = torch.lerp(PAPER, drawing.ground, 0.55 * _hatching(drawing, 0.6) * pressed)
    for figure in drawing.figures:
        for layer in figure.layers:
            inside = torch.sigmoid(-layer.distance / (0.012 * drawing.scale))
            edge = torch.exp(-((layer.distance / (0.03 * drawing.scale)) ** 2))
            wax = (_hatching(drawing, 0.7) * 0.7 + 0.25 + edge).clamp(0, 1) * pressed
            canvas = torch.lerp(canvas, layer.colour, inside * wax)
    return canvas


def pointillism(drawing: Drawing, picture: Picture) -> Tensor:
    """Dots of pure colour, each a little other than its neighbours, on light canvas."""
    canvas = filled(drawing, drawing.ground)
    cell = FACTOR / 2
    column, row = (drawing.column / cell).floor(), (drawing.row / cell).floor()
    tints = [cell_number(column, row, seed + drawing.chance) - 0.5 for seed in (1.0, 2.0, 3.0)]
    across, down = drawing.column.remainder(cell) - cell / 2, drawing.row.remainder(cell) - cell / 2
    dot = ((6.6 - torch.hypot(across, down)) / 2 + 0.5).clamp(0, 1)
    return torch.lerp(PAPER, (canvas + 0.5 * torch.stack(tints)).clamp(0, 1), dot)
