"""The analytic latent: what the UNet paints, computed from pixels without any autoencoder.

A picture is averaged over 16 x 16 pixels, its colours are decorrelated, a 2 x 2 Haar transform halves it again, and
each of the twelve channels is brought to zero mean and unit deviation. The first three channels are thus a small
picture. The autoencoder's encoder learns this map and its decoder learns to paint crisp pixels from it.
"""

import torch
from torch import Tensor

from gesso.mini.models import FACTOR

CELL = FACTOR // 2
COLOUR = torch.tensor(
    [
        [3**-0.5, 3**-0.5, 3**-0.5],
        [2**-0.5, 0.0, -(2**-0.5)],
        [-(6**-0.5), 2 * 6**-0.5, -(6**-0.5)],
    ]
)
MEAN = torch.tensor([-0.11, 0.16, -0.06] + [0.0] * 9).view(12, 1, 1)
DEVIATION = torch.tensor([0.75, 0.70, 0.40, 0.10, 0.09, 0.05, 0.10, 0.09, 0.05, 0.040, 0.036, 0.020]).view(12, 1, 1)


def latents_of(cells: Tensor) -> Tensor:
    """cells: [images, 3, height/16, width/16] mean RGB in 0..1. Returns [images, 12, height/32, width/32]."""
    colours = torch.einsum("oc,nchw->nohw", COLOUR, cells * 2 - 1)
    a, b, c, d = (colours[..., row::2, column::2] for row in (0, 1) for column in (0, 1))
    bands = torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], dim=1) / 4
    return (bands - MEAN) / DEVIATION


def cells_of(latents: Tensor) -> Tensor:
    """The inverse: [images, 12, h, w] to mean RGB [images, 3, 2h, 2w]."""
    mean, across, down, diagonal = (latents * DEVIATION + MEAN).chunk(4, dim=1)
    cells = torch.empty(*mean.shape[:2], mean.shape[2] * 2, mean.shape[3] * 2)
    cells[..., 0::2, 0::2] = mean + across + down + diagonal
    cells[..., 0::2, 1::2] = mean - across + down - diagonal
    cells[..., 1::2, 0::2] = mean + across - down - diagonal
    cells[..., 1::2, 1::2] = mean - across - down + diagonal
    return (torch.einsum("oc,nohw->nchw", COLOUR, cells) + 1) / 2
