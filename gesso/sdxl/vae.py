"""The VAE: pixels to latents and back.

How many pixels a latent's side stands for, and how many channels it has, are the checkpoint's own. A picture whose
sides are no multiples of that factor is the middle of one that is.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gesso.errors import PaintingFailed
from gesso.sdxl.vae_network import VaeNetwork


@dataclass(frozen=True, slots=True)
class Posterior:
    """What an encoder says of a picture: `mean` and `deviation`, [1, channels, h, w] float32.

    What is drawn from it, times `scale`, is the latent that the UNet knows.
    """

    mean: Tensor
    deviation: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Vae:
    """A checkpoint's VAE."""

    network: VaeNetwork

    @property
    def factor(self) -> int:
        """Pixels to one side of a latent."""
        return self.network.factor

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """[channels, h, w] of a picture of so many pixels."""
        return self.network.latent_channels, -(-height // self.factor), -(-width // self.factor)

    def encode(self, rgb: bytes, width: int, height: int) -> Posterior:
        """What the encoder says of a picture, [height, width, 3] uint8; its edges are continued to a whole latent."""
        picture = torch.from_numpy(np.frombuffer(rgb, np.uint8).reshape(height, width, 3).copy())
        _, rows, columns = self.latent_shape(width, height)
        left, top = self._margins(width, height)
        right, bottom = columns * self.factor - width - left, rows * self.factor - height - top
        pixels = picture.permute(2, 0, 1)[None].float() / 255 * 2 - 1
        pixels = nn.functional.pad(pixels, (left, right, top, bottom), mode="replicate")
        mean, deviation = self.network.encode(pixels.to(next(self.network.parameters())))
        return Posterior(mean.float().cpu(), deviation.float().cpu(), self.network.scaling_factor)

    def decode(self, latent: Tensor, width: int, height: int) -> bytes:
        """The picture of a UNet's latent [channels, h, w], as [height, width, 3] uint8.

        A precision that is not enough for this latent gives way to float32, once.

        Raises:
            PaintingFailed: numbers that are no numbers came in or out.
        """
        if not torch.isfinite(latent).all():
            raise PaintingFailed("the image came out as numbers that are no numbers (NaN or infinity)")
        left, top = self._margins(width, height)
        unscaled = latent[None] / self.network.scaling_factor
        picture = self.network(unscaled.to(next(self.network.parameters())))[0].float()
        if not torch.isfinite(picture).all():
            picture = copy.deepcopy(self.network).float()(unscaled)[0]
        if not torch.isfinite(picture).all():
            raise PaintingFailed("the VAE made numbers that are no numbers (NaN or infinity) of the image")
        picture = (picture / 2 + 0.5).clamp(0, 1)[:, top : top + height, left : left + width]
        return bytes((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy().tobytes())

    def _margins(self, width: int, height: int) -> tuple[int, int]:
        _, rows, columns = self.latent_shape(width, height)
        return (columns * self.factor - width) // 2, (rows * self.factor - height) // 2
