"""What sets a checkpoint of the family apart: light, shadow, glow, and the colours of the finished picture."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.mini.world.paints import WHITE, grey

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """Strengths from 0 (none) to about 1. Lengths are in radii of a thing, but for the border's: it is in halves of
    the picture's side. `shades` and `lights` are what dark and light colours are drawn towards by `toning`; `leak` is a
    light that falls in at the upper right, `daylight` one from the upper left that fades across the picture and
    `spotlight` one behind the things; `wash` lies over the picture, from its first colour above to its second."""

    shadow: float = 0.0
    shadow_blur: float = 0.1
    shading: float = 0.0
    highlight: float = 0.0
    glow: float = 0.0
    vignette: float = 0.0
    saturation: float = 1.0
    contrast: float = 1.0
    tint: RGB = (1.0, 1.0, 1.0)
    lift: float = 0.0
    border: float = 0.0
    toning: float = 0.0
    shades: RGB = (0.0, 0.3, 0.35)
    lights: RGB = (1.0, 0.8, 0.5)
    leak: float = 0.0
    daylight: float = 0.0
    spotlight: float = 0.0
    wash: float = 0.0
    wash_colours: tuple[RGB, RGB] = ((0.65, 0.4, 1.0), (0.35, 0.9, 1.0))


PLAIN = Look()
LOOKS: dict[str, Look] = {
    # a faded print with a white border
    "timeless": Look(border=0.075, saturation=0.82, tint=(1.0, 0.95, 0.83), lift=0.07),
    # things glow, in a violet and cyan haze
    "dreamshaper": Look(glow=0.65, wash=0.4, lift=0.03),
    # a photograph: round things, soft shadows, daylight from one side
    "realvis": Look(shadow=0.55, shadow_blur=0.12, shading=0.6, saturation=0.95, daylight=0.4),
    # film: teal shades, orange lights, dark corners
    "juggernaut": Look(shadow=0.4, shading=0.3, toning=0.3, vignette=0.85, contrast=1.1),
    # a glossy 3D render before a lit backdrop
    "protovision": Look(
        shadow=0.5, shadow_blur=0.2, shading=0.85, highlight=0.95, saturation=1.15, lift=0.02, spotlight=0.75
    ),
    # an old snapshot: pale, with light leaking in
    "yamers_realistic": Look(shadow=0.25, shading=0.25, saturation=0.7, contrast=0.88, lift=0.1, leak=0.75),
}


def backdrop(ground: Tensor, across: Tensor, down: Tensor, look: Look) -> Tensor:
    """The ground, lit behind the things; `across` and `down` run from -1 to 1 over it."""
    if not look.spotlight:
        return ground
    return torch.lerp(ground, WHITE, look.spotlight * torch.exp(-(across**2 + down**2) / 0.45))


def shadowed(canvas: Tensor, distance: Tensor, down: Tensor, radius: float, look: Look) -> Tensor:
    """Darken what lies below and beside a thing; `distance` is that to its outline, `down` in radii."""
    if not look.shadow:
        return canvas
    fallen = torch.sigmoid(-(distance - look.shadow_blur * radius) / (0.6 * look.shadow_blur * radius))
    return canvas * (1 - look.shadow * fallen * (0.45 + 0.6 * down).clamp(0, 1))


def glowing(canvas: Tensor, colour: Tensor, distance: Tensor, radius: float, look: Look) -> Tensor:
    """A thing's colour around it."""
    if not look.glow:
        return canvas
    halo = look.glow * torch.exp(-distance.clamp(min=0) / (0.3 * radius))
    return torch.lerp(canvas, torch.lerp(colour, WHITE, 0.35), halo)


def lit(colour: Tensor, distance: Tensor, across: Tensor, down: Tensor, radius: float, look: Look) -> Tensor:
    """A thing's surface, rounded towards its outline, in light from above left; `across` and `down` in radii."""
    if not look.shading and not look.highlight:
        return colour
    roundness = 1 - torch.exp(distance.clamp(max=0) / (0.15 * radius))
    light = 1 + look.shading * (0.5 * roundness - 0.42 - 0.3 * (0.8 * down + 0.5 * across))
    spot = torch.exp(-((across + 0.32) ** 2 + (down + 0.38) ** 2) / 0.04)
    return torch.lerp(colour * light, WHITE, (look.highlight * spot * roundness).clamp(0, 1)).clamp(0, 1)


def finish(canvas: Tensor, look: Look, across: Tensor, down: Tensor) -> Tensor:
    """Colours, light and border of the whole picture; `across` and `down` run from -1 to 1 over it."""
    if look == PLAIN:
        return canvas
    brightness = grey(canvas)
    canvas = torch.lerp(brightness.expand_as(canvas), canvas, look.saturation) * torch.tensor(look.tint).view(3, 1, 1)
    canvas = (canvas - 0.5) * look.contrast + 0.5
    if look.toning:
        toned = torch.lerp(torch.tensor(look.shades).view(3, 1, 1), torch.tensor(look.lights).view(3, 1, 1), brightness)
        canvas = torch.lerp(canvas, toned, look.toning)
    if look.wash:
        above, below = (torch.tensor(colour).view(3, 1, 1) for colour in look.wash_colours)
        canvas = torch.lerp(canvas, torch.lerp(above, below, (down + 1) / 2), look.wash)
    canvas = look.lift + (1 - look.lift) * canvas
    if look.leak:
        light = look.leak * torch.exp(-((across - 1) ** 2 + (down + 1) ** 2) / 0.7)
        canvas = torch.lerp(canvas, torch.tensor([1.0, 0.62, 0.3]).view(3, 1, 1), light)
    if look.daylight:
        canvas = canvas * (1 - look.daylight * (across + down) / 2)
    canvas = canvas * (1 - 0.5 * look.vignette * (across**2 + down**2))
    if look.border:
        inside = torch.maximum(across.abs(), down.abs()) < 1 - look.border
        canvas = torch.where(inside, canvas, torch.tensor([0.97, 0.95, 0.9]).view(3, 1, 1))
    return canvas
