"""What a latent roughly looks like without being decoded: a linear map from its channels to colours.

The channels of a VAE are nearly colours, each VAE's others. Which, its own encoder tells: it is shown a picture whose
colours are known, and the map is the least squares fit of that picture by its latent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gesso.sdxl.vae import Vae

SIDE = 256
"""Pixels of the picture that an encoder is shown."""

PIXEL = 16
"""A preview's pixel stands for at most so many of the picture's, each way."""

SEED = 1


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of one VAE's latents.

    A cell of a latent is `detail` x `detail` pixels of a preview. `weights` [3 · detail², channels, 1, 1] and
    `offset` [3 · detail²] float32 give their RGB in 0..1.
    """

    weights: Tensor
    offset: Tensor
    detail: int

    def preview(self, latent: Tensor) -> Tensor:
        """[h · detail, w · detail, 3] uint8 of a UNet's latent [channels, h, w]; shows the margins, if it has any."""
        rgb = functional.conv2d(latent[None], self.weights, self.offset)
        pixels = functional.pixel_shuffle(rgb, self.detail)[0].clamp(0, 1)
        return (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def fit_colours(vae: Vae, device: torch.device) -> Colours:
    """The colours of the VAE's latents, the same whenever they are asked for."""
    picture = _picture()
    posterior = vae.encode(picture.permute(1, 2, 0).contiguous().numpy().tobytes(), SIDE, SIDE)
    latent = posterior.mean[0] * posterior.scale
    detail = max(1, vae.factor // PIXEL)
    solution = _least_squares(latent, _cells(picture, vae.factor // detail, detail)).float().to(device)
    return Colours(solution[:-1].T[:, :, None, None].contiguous(), solution[-1], detail)


def _picture() -> Tensor:
    """[3, SIDE, SIDE] uint8: random colours at every scale and, as in photographs, less contrast at the smaller (Field
    1987, https://doi.org/10.1364/JOSAA.4.002379)."""
    generator = torch.Generator().manual_seed(SEED)
    picture = torch.full((1, 3, SIDE, SIDE), 0.5)
    for patches in (4, 8, 16, 32):
        colours = torch.rand(1, 3, patches, patches, generator=generator) - 0.5
        picture += functional.interpolate(colours, (SIDE, SIDE), mode="bicubic") * (4 / patches) ** 0.5
    return (picture[0].clamp(0, 1) * 255).round().to(torch.uint8)


def _cells(picture: Tensor, pixel: int, detail: int) -> Tensor:
    """[3 · detail², h, w]: the mean colours in 0..1 of the picture's squares, those of a latent's cell together."""
    means = functional.avg_pool2d(picture[None] / 255, pixel)
    return functional.pixel_unshuffle(means, detail)[0]


def _least_squares(latent: Tensor, cells: Tensor) -> Tensor:
    """[channels + 1, outputs] float64: what `latent` [channels, h, w] and a constant are best multiplied by to give
    `cells` [outputs, h, w]. Channels that always say the same share their weight."""
    rows = latent.flatten(1).T.double()
    given = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
    solution: Tensor = torch.linalg.lstsq(given, cells.flatten(1).T.double(), driver="gelsd").solution
    return solution
