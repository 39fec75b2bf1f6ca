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
from gesso.sdxl import strips
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
    """A checkpoint's VAE.

    `room`: bytes of the device that a picture may take while it is encoded or decoded; a larger one is done in strips,
    whatever else happens to be there. None: it has no bounds.
    """

    network: VaeNetwork
    room: int | None = None

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
        if self._is_too_large(self.network, pixels[0, 0].numel()):
            mean, deviation = strips.encode(self.network, pixels.to(self.network.dtype))
        else:
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
        picture = self._decoded(self.network, unscaled)
        if not torch.isfinite(picture).all():
            picture = self._decoded(copy.deepcopy(self.network).float(), unscaled)
        if not torch.isfinite(picture).all():
            raise PaintingFailed("the VAE made numbers that are no numbers (NaN or infinity) of the image")
        picture = (picture / 2 + 0.5).clamp(0, 1)[:, top : top + height, left : left + width]
        return bytes((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy().tobytes())

    def _decoded(self, network: VaeNetwork, latents: Tensor) -> Tensor:
        """[3, height, width] float32."""
        latents = latents.to(next(network.parameters()))
        in_strips = self._is_too_large(network, latents[0, 0].numel() * self.factor**2)
        return (strips.decode if in_strips else VaeNetwork.forward)(network, latents)[0].float()

    def _is_too_large(self, network: VaeNetwork, pixels: int) -> bool:
        return self.room is not None and pixels * strips.bytes_of_a_pixel(network.widths, network.dtype) > self.room

    def _margins(self, width: int, height: int) -> tuple[int, int]:
        _, rows, columns = self.latent_shape(width, height)
        return (columns * self.factor - width) // 2, (rows * self.factor - height) // 2
