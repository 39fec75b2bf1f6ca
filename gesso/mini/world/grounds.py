"""What lies behind the things of a scene: plain colours, patterns, views. Lengths are as in `composition`."""

from collections.abc import Callable

import torch
from torch import Tensor

from gesso.mini.world.composition import Picture
from gesso.mini.world.paints import named, rgb
from gesso.mini.world.scenes import Ground

PERIOD = 0.5
View = Callable[[Tensor, Tensor, float, float, float], Tensor]
"""x, y, half the picture's height, the distance between samples, the picture's scale -> [3, rows, columns]."""


def ground_colours(picture: Picture, x: Tensor, y: Tensor, sample: float) -> Tensor:
    """[3, rows, columns], or what spreads to it."""
    ground = picture.scene.ground
    height = picture.extent[1]
    if ground.pattern in _VIEWS:
        return _VIEWS[ground.pattern](x, y, height, sample, picture.scale)
    return torch.lerp(named(ground.first), named(ground.second), _share_of_second(ground, height, x, y, sample))


def _share_of_second(ground: Ground, half_height: float, x: Tensor, y: Tensor, sample: float) -> Tensor:
    if ground.pattern == "gradient":
        return (y / half_height + 1).clamp(0, 2) / 2
    if ground.pattern == "stripes":
        return _bands(x, sample)
    if ground.pattern == "checks":
        across, down = _bands(x, sample), _bands(y, sample)
        return across + down - 2 * across * down
    return torch.zeros(1, 1)


def _bands(along: Tensor, sample: float) -> Tensor:
    """1 and 0 in turn, half a PERIOD each, a band's middle at the origin."""
    edge = 0.25 * PERIOD - (torch.remainder(along / PERIOD + 0.5, 1) - 0.5).abs() * PERIOD
    return (0.5 - edge / sample).clamp(0, 1)


def _between(share: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.lerp(first, second, share.clamp(0, 1))


def _sky(x: Tensor, y: Tensor, height: float, sample: float, scale: float) -> Tensor:
    return _between((y / height + 1) / 2, rgb(70, 150, 235), rgb(200, 232, 255))


def _sea(x: Tensor, y: Tensor, height: float, sample: float, scale: float) -> Tensor:
    above = _between((y / height + 1) * 0.8, rgb(150, 205, 245), rgb(230, 244, 250))
    crest = 0.03 * scale * torch.sin(x * 9 / scale)
    waves = (torch.sin((y + crest) * 30 / scale) * 0.5 + 0.5) ** 4
    below = _between(0.35 * waves, rgb(15, 95, 160), rgb(160, 215, 235))
    return _between(0.5 + (y - 0.22 * height - crest) / sample, above, below)


def _night(x: Tensor, y: Tensor, height: float, sample: float, scale: float) -> Tensor:
    dark = _between((y / height + 1) / 2, rgb(6, 8, 34), rgb(36, 34, 88))
    cell = 0.3 * scale
    column, row = (x / cell).floor(), (y / cell).floor()
    across, down = (cell_number(column, row, seed) * 0.6 + 0.2 for seed in (1.0, 2.0))
    distance = torch.hypot(x / cell - column - across, y / cell - row - down) * cell - 0.028 * scale
    star = (0.5 - distance / sample).clamp(0, 1) * (cell_number(column, row, 3.0) > 0.35)
    return _between(star, dark, rgb(255, 250, 225))


def _grass(x: Tensor, y: Tensor, height: float, sample: float, scale: float) -> Tensor:
    above = _between((y / height + 1) * 0.7, rgb(110, 185, 240), rgb(215, 238, 250))
    below = _between((y / height) * 0.9, rgb(120, 190, 75), rgb(60, 130, 45))
    hill = 0.2 * height + 0.05 * torch.sin(x * 2.2 + 0.6)
    return _between(0.5 + (y - hill) / sample, above, below)


def _sunset(x: Tensor, y: Tensor, height: float, sample: float, scale: float) -> Tensor:
    down = y / height
    return torch.where(
        down < 0,
        _between(down + 1, rgb(80, 45, 120), rgb(225, 85, 95)),
        _between(down, rgb(225, 85, 95), rgb(255, 195, 90)),
    )


def cell_number(column: Tensor, row: Tensor, seed: float) -> Tensor:
    """A number in 0..1 for every cell of a grid, always the same."""
    return (torch.sin(column * 12.9898 + row * 78.233 + seed * 37.719) * 43758.5453).remainder(1)


_VIEWS: dict[str, View] = {"sky": _sky, "sea": _sea, "night": _night, "grass": _grass, "sunset": _sunset}
