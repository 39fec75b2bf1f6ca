"""The analytic latent: what the UNet paints, computed from pixels without any autoencoder.

A picture is averaged over 8 x 8 pixels and its colours are decorrelated into brightness and two tones. Two Haar
transforms take brightness to a quarter of that size, in sixteen channels; tones are averaged once more and transformed
once, to four channels each, as eyes see less detail in them. The first three channels are thus a small picture.

Channels with less to say are made louder, though not as loud as those (outlines come before details); and all are kept
at about half the noise's size, so that little of a picture shows through where a run begins. The autoencoder's encoder
is this map, and its decoder learns to paint crisp pixels from it.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from gesso.mini.models import FACTOR

CELL = FACTOR // 4
COLOUR = torch.tensor(
    [
        [3**-0.5, 3**-0.5, 3**-0.5],
        [2**-0.5, 0.0, -(2**-0.5)],
        [-(6**-0.5), 2 * 6**-0.5, -(6**-0.5)],
    ]
)
"""Brightness and two tones of a colour, -1..1 each."""
HAAR = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]) / 4
"""The bands of a transform by 2 x 2 samples: mean, across, down, diagonal."""

_MEANS = (0.883, 0.621, 0.342)
_COARSE = (0.098, 0.101, 0.058, 0.056, 0.032, 0.058, 0.032, 0.028, 0.018)
_FINE = (0.047, 0.047, 0.019, 0.054, 0.025, 0.018, 0.025, 0.054, 0.019, 0.041, 0.046, 0.060)
_SPREAD = torch.tensor([*_MEANS, *_COARSE, *_FINE])
"""Standard deviations of the bands, measured over scenes."""
_LOUDEST, _EVENNESS = 0.5, 0.6
MEAN = torch.tensor([0.137, 0.066, -0.02] + [0.0] * 21).view(24, 1, 1)
GAIN = (_LOUDEST * (_SPREAD / _SPREAD[0]) ** (1 - _EVENNESS) / _SPREAD).view(24, 1, 1)
"""What bands are multiplied by to become latents, their mean taken off."""


def latents_of(cells: Tensor) -> Tensor:
    """cells: [images, 3, height/8, width/8] mean RGB in 0..1. Returns [images, 24, height/32, width/32]."""
    planes = torch.einsum("oc,nchw->nohw", COLOUR, cells * 2 - 1)
    brightness = _bands(_bands(planes[:, :1])[:, :, 0])
    tones = _bands(F.avg_pool2d(planes[:, 1:], 2))
    return (in_order(brightness, tones) - MEAN) * GAIN


def in_order(brightness: Tensor, tones: Tensor) -> Tensor:
    """The channels of a latent from brightness [images, bands, bands of those, ...] and tones [images, bands, 2, ...]:
    three means first, then coarse details, then fine ones."""
    means = torch.cat([brightness[:, 0, :1], tones[:, 0]], 1)
    return torch.cat([means, brightness[:, 1:, 0], tones[:, 1:].flatten(1, 2), brightness[:, :, 1:].flatten(1, 2)], 1)


def _bands(planes: Tensor) -> Tensor:
    """[images, planes, h, w] -> [images, 4, planes, h/2, w/2]."""
    corners = torch.stack([planes[..., row::2, column::2] for row in (0, 1) for column in (0, 1)], dim=1)
    return torch.einsum("bk,nkphw->nbphw", HAAR.flatten(1), corners)


def cells_of(latents: Tensor) -> Tensor:
    """Back again, as far as it goes: [images, 24, h, w] to mean RGB [images, 3, 4h, 4w]."""
    channels = latents / GAIN + MEAN
    means, luma, tones, fine = torch.split(channels, [3, 3, 6, 12], dim=1)
    coarse = torch.cat([means[:, :1], luma], 1).unsqueeze(2)
    brightness = torch.cat([coarse, fine.view(len(fine), 4, 3, *fine.shape[2:])], 2)
    whole = _joined(_joined(brightness).unsqueeze(2))
    tones = _joined(torch.cat([means[:, 1:].unsqueeze(1), tones.view(len(tones), 3, 2, *tones.shape[2:])], 1))
    planes = torch.cat([whole, F.interpolate(tones, scale_factor=2.0, mode="nearest")], 1)
    return (torch.einsum("oc,nohw->nchw", COLOUR, planes) + 1) / 2


def _joined(bands: Tensor) -> Tensor:
    """[images, 4, planes, h, w] -> [images, planes, 2h, 2w]."""
    corners = torch.einsum("bk,nbphw->npkhw", 4 * HAAR.flatten(1), bands)
    return F.pixel_shuffle(corners.flatten(1, 2), 2)
