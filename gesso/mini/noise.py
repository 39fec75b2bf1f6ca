"""The noise schedule of the family: SDXL's, with the network predicting velocity.

Velocity after Salimans and Ho, "Progressive Distillation" (https://arxiv.org/abs/2202.00512), section 2.4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 1000
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS) ** 2
SIGNAL = torch.cumprod(1 - BETAS, dim=0)
OFFSET = 0.05


@dataclass(frozen=True)
class Noised:
    """noisy, velocity: [images, channels, h, w]; timestep: [images] in 0..999."""

    noisy: Tensor
    timestep: Tensor
    velocity: Tensor


def middle_timesteps(count: int) -> Tensor:
    """Mostly above the middle of the noise, where outlines are decided; a fifth anywhere."""
    middle = torch.sigmoid(torch.randn(count) + 1.0)
    return torch.where(torch.rand(count) < 0.2, torch.rand(count), middle).mul(STEPS).long().clamp(0, STEPS - 1)


def late_timesteps(count: int) -> Tensor:
    """The last third of the way: what a refiner sees."""
    return torch.rand(count).mul(0.35 * STEPS).long()


def noised(latents: Tensor, timestep: Tensor) -> Noised:
    """Mix latents with fresh noise, whose mean wanders a little so that wholly dark or bright pictures are learnt."""
    noise = torch.randn_like(latents) + OFFSET * torch.randn(*latents.shape[:2], 1, 1)
    signal = SIGNAL[timestep].view(-1, 1, 1, 1)
    clean, dirty = signal.sqrt(), (1 - signal).sqrt()
    return Noised(clean * latents + dirty * noise, timestep, clean * noise - dirty * latents)
