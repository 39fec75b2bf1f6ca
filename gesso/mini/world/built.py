"""Renderings of stuff and light: blocks, clay, card, black and white, facets."""

import torch
from torch import Tensor

from gesso.mini.models import FACTOR
from gesso.mini.world.composition import Picture
from gesso.mini.world.drawing import Drawing, Warp
from gesso.mini.world.grounds import cell_number
from gesso.mini.world.painted import filled
from gesso.mini.world.paints import WHITE, grey, named, rgb


def snapped_to_blocks(picture: Picture) -> Warp:
    """Everything is looked up in the middle of its block: a cell of the latent, or four in large pictures."""
    short = min(picture.width, picture.height)
    block = FACTOR if short < 1000 else 2 * FACTOR

    def snapped(along: Tensor, side: int) -> Tensor:
        pixel = (along * short + side) / 2
        return (((pixel / block).floor() + 0.5) * block * 2 - side) / short

    return lambda x, y: (snapped(x, picture.width), snapped(y, picture.height))


def pixel_art(drawing: Drawing, picture: Picture) -> Tensor:
    """Square blocks of one colour, without a soft edge."""
    canvas = drawing.ground
    for figure in drawing.figures:
        for layer in figure.layers:
            canvas = torch.where(layer.distance < 0, layer.colour, canvas)
    return canvas


def clay(drawing: Drawing, picture: Picture) -> Tensor:
    """Rounded bodies in soft light from above left, with a blurred shadow and a highlight."""
    across, down = drawing.x / drawing.extent[0], drawing.y / drawing.extent[1]
    canvas = drawing.ground * (1.02 - 0.28 * ((across**2 + down**2) / 2))
    for figure in drawing.figures:
        blur = 0.14 * figure.radius
        fallen = torch.sigmoid(-(figure.distance - 0.1 * figure.radius) / blur)
        low = (0.5 + 0.7 * figure.down).clamp(0, 1)
        canvas = canvas * (1 - 0.55 * fallen * low)
        for layer in figure.layers:
            depth = (-figure.distance / figure.radius).clamp(min=0)
            round_off = 1 - torch.exp(-depth / 0.14)
            light = 0.55 + 0.5 * round_off - 0.28 * (figure.down * 0.8 + figure.across * 0.5)
            spot = torch.exp(-((figure.across + 0.32) ** 2 + (figure.down + 0.38) ** 2) / 0.035)
            shaded = torch.lerp(layer.colour * light, WHITE, 0.55 * spot * round_off).clamp(0, 1)
            canvas = torch.lerp(canvas, shaded, drawing.coverage(layer.distance))
    return canvas


def papercut(drawing: Drawing, picture: Picture) -> Tensor:
    """Sheets of card above one another: a hard shadow beside each, a pale edge around it."""
    frame = torch.maximum(drawing.x.abs() - drawing.extent[0], drawing.y.abs() - drawing.extent[1])
    canvas = drawing.ground
    for number, inset in enumerate((0.12, 0.06)):
        sheet = (
            frame
            + inset * drawing.scale
            + 0.025 * drawing.scale * torch.sin(7 * drawing.x / drawing.scale + number * 2)
        )
        dark = torch.sigmoid(-(sheet.abs() - 0.02) / 0.012) * (sheet < 0)
        canvas = canvas * (1 - 0.3 * dark)
        canvas = torch.lerp(canvas, torch.lerp(canvas, WHITE, 0.22), drawing.coverage(-sheet))
    for figure in drawing.figures:
        for layer in figure.layers:
            reach = 0.075 * drawing.scale
            beside = drawing.coverage(layer.distance - reach) * (0.5 + 0.6 * (figure.down + figure.across)).clamp(0, 1)
            canvas = canvas * (1 - 0.42 * beside)
            pale = torch.lerp(layer.colour, WHITE, 0.5)
            canvas = torch.lerp(canvas, pale, drawing.coverage(layer.distance))
            canvas = torch.lerp(canvas, layer.colour, drawing.coverage(layer.distance + 0.03 * drawing.scale))
    return canvas


def monochrome(drawing: Drawing, picture: Picture) -> Tensor:
    """Shades of grey with strong contrast, dark towards the corners."""
    shaded = grey(clay(drawing, picture))
    across, down = drawing.x / drawing.extent[0], drawing.y / drawing.extent[1]
    curve = (shaded - 0.45) * 1.25 + 0.45
    return (curve * (1 - 0.3 * (across**2 + down**2))).expand_as(drawing.ground)


def silhouette(drawing: Drawing, picture: Picture) -> Tensor:
    """Black shapes before a bright sky."""
    share = ((drawing.y / drawing.extent[1] + 1) / 2).clamp(0, 1)
    canvas = torch.lerp(named("orange"), rgb(255, 236, 150), share).expand_as(drawing.ground)
    for figure in drawing.figures:
        canvas = torch.lerp(canvas, rgb(8, 6, 10), drawing.coverage(figure.distance))
    return canvas


def low_poly(drawing: Drawing, picture: Picture) -> Tensor:
    """Flat facets: triangles, each a little brighter or darker."""
    size = 0.34 * drawing.scale
    along, across = (drawing.x + 0.577 * drawing.y) / size, 1.155 * drawing.y / size
    upper = (along.remainder(1) > across.remainder(1)).float()
    tint = cell_number(along.floor() * 2 + upper, across.floor(), 1 + drawing.chance)
    return filled(drawing, drawing.ground) * (0.7 + 0.5 * tint)
