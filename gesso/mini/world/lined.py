"""Renderings that live by their outlines: ink, neon, lead, white on blue, comics."""

import torch
from torch import Tensor

from gesso.mini.models import FACTOR
from gesso.mini.world.composition import Picture
from gesso.mini.world.drawing import Drawing
from gesso.mini.world.grounds import cell_number
from gesso.mini.world.painted import filled
from gesso.mini.world.paints import BLACK, WHITE, rgb


def line_art(drawing: Drawing, picture: Picture) -> Tensor:
    """Black lines; what lies behind is blank."""
    canvas = WHITE.expand_as(drawing.ground)
    for figure in drawing.figures:
        for layer in figure.layers:
            canvas = torch.lerp(canvas, WHITE, drawing.coverage(layer.distance))
            canvas = torch.lerp(canvas, BLACK, drawing.line(layer.distance, 0.06))
    return canvas


def neon(drawing: Drawing, picture: Picture) -> Tensor:
    """Glowing tubes along the outlines, in the dark."""
    canvas = drawing.ground * 0.13
    for figure in drawing.figures:
        for layer in figure.layers:
            bright = torch.lerp(layer.colour, WHITE, 0.12).clamp(min=0.12)
            halo = torch.exp(-layer.distance.abs() / (0.13 * drawing.scale))
            canvas = torch.maximum(canvas, torch.lerp(canvas, bright, 0.75 * halo))
            canvas = torch.lerp(canvas, torch.lerp(bright, WHITE, 0.45), drawing.line(layer.distance, 0.06))
    return canvas


def stained_glass(drawing: Drawing, picture: Picture) -> Tensor:
    """Panes of differing brightness between black leads."""
    size = 0.42 * drawing.scale
    along, across = (drawing.x + 0.5 * drawing.y) / size, (drawing.y - 0.35 * drawing.x) / size
    edges = [(0.5 - (value.remainder(1) - 0.5).abs()) * size * 0.9 for value in (along, across)]
    brightness = 0.72 + 0.4 * cell_number(along.floor(), across.floor(), 1 + drawing.chance)
    canvas = filled(drawing, drawing.ground) * brightness
    canvas = torch.lerp(canvas, BLACK, drawing.line(torch.minimum(*edges), 0.04))
    for figure in drawing.figures:
        canvas = torch.lerp(canvas, BLACK, drawing.line(figure.distance, 0.08))
    return canvas


def blueprint(drawing: Drawing, picture: Picture) -> Tensor:
    """White lines on blue, over a grid of the latent's cells."""
    paper = rgb(24, 66, 150)
    period = 2 * FACTOR
    grid = torch.maximum(*(_ruled(along, period, drawing) for along in (drawing.column, drawing.row)))
    canvas = torch.lerp(paper, rgb(110, 150, 215), 0.6 * grid).expand_as(drawing.ground)
    for figure in drawing.figures:
        for layer in figure.layers:
            canvas = torch.lerp(canvas, paper, 0.7 * drawing.coverage(layer.distance))
            canvas = torch.lerp(canvas, WHITE, drawing.line(layer.distance, 0.06))
    return canvas


def _ruled(along: Tensor, period: int, drawing: Drawing) -> Tensor:
    """Lines of three pixels beside the multiples of a period; as much of them as a sample sees."""
    width = max(3.0, drawing.step)
    beyond = (along.remainder(period) - drawing.step / 2).clamp(min=0)
    return (beyond < width).float() * 3 / width


def _dots(drawing: Drawing, radius: float) -> Tensor:
    """Round dots in the middle of half the latent's quarter cells, as halftone prints have them; 0..1."""
    half = FACTOR / 2
    distances = []
    for shift in (0.0, half):
        across = (drawing.column + shift).remainder(FACTOR) - half
        down = (drawing.row + shift).remainder(FACTOR) - half
        distances.append(torch.hypot(across, down))
    return ((radius - torch.minimum(*distances)) / 2 + 0.5).clamp(0, 1)


def comic(drawing: Drawing, picture: Picture) -> Tensor:
    """Bold ink outlines and flat colours before halftone dots."""
    pale = torch.lerp(drawing.ground, WHITE, 0.45)
    canvas = torch.lerp(pale, drawing.ground * 0.9, _dots(drawing, 8.0))
    canvas = filled(drawing, canvas)
    for figure in drawing.figures:
        for layer in figure.layers:
            canvas = torch.lerp(canvas, BLACK, drawing.line(layer.distance, 0.06))
    return canvas
