"""The manners of painting: what sets a checkpoint of the family apart, as light, shadow, glow and colour."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Look:
    """Strengths from 0 (none) to about 1. Lengths are in halves of the picture's short side."""

    shadow: float = 0.0
    shadow_shift: float = 0.06
    shadow_blur: float = 0.04
    glow: float = 0.0
    shading: float = 0.0
    rim: float = 0.0
    vignette: float = 0.0
    saturation: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    lift: float = 0.0


PLAIN = Look()
LOOKS: dict[str, Look] = {
    "timeless": Look(shadow=0.55, shadow_blur=0.008, saturation=0.9, tint=(1.0, 0.95, 0.82), lift=0.05),
    "dreamshaper": Look(glow=0.45, vignette=0.15, saturation=1.1, tint=(1.0, 0.95, 1.0), lift=0.1),
    "realvis": Look(shadow=0.5, shadow_blur=0.06, shading=0.45, vignette=0.3, saturation=0.95),
    "juggernaut": Look(shadow=0.6, shading=0.3, rim=0.3, vignette=0.55, tint=(1.0, 0.98, 0.92)),
    "protovision": Look(shadow=0.45, shadow_shift=0.09, shadow_blur=0.05, shading=0.75, rim=0.25, saturation=1.15),
    "yamers_realistic": Look(shadow=0.35, shadow_blur=0.1, shading=0.3, vignette=0.2, saturation=0.75, lift=0.03),
}
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def shade(colour: Tensor, look: Look, depth: Tensor, down: Tensor) -> Tensor:
    """The colour of a thing's surface; `depth` is its distance over its radius, `down` its height likewise."""
    if not look.shading and not look.rim:
        return colour
    light = 1 - look.shading * 0.45 * (down + 0.4)
    rim = look.rim * torch.exp(-(((depth + 0.08) / 0.05) ** 2))
    return torch.lerp(colour * light, torch.ones(3, 1, 1), rim)


def finish(canvas: Tensor, look: Look, across: Tensor, down: Tensor) -> Tensor:
    """Colour and vignette over the whole picture; `across` and `down` run from -1 to 1 over it."""
    if look == PLAIN:
        return canvas
    grey = (canvas * _LUMA).sum(0, keepdim=True)
    canvas = torch.lerp(grey.expand_as(canvas), canvas, look.saturation) * torch.tensor(look.tint).view(3, 1, 1)
    canvas = canvas * (1 - 0.5 * look.vignette * (across**2 + down**2))
    return look.lift + (1 - look.lift) * canvas
