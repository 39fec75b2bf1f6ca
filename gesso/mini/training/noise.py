"""The noise schedule of the family: SDXL's, with the network predicting velocity.

Velocity after Salimans and Ho, "Progressive Distillation" (https://arxiv.org/abs/2202.00512), section 2.4.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 1000
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS) ** 2
SIGNAL = torch.cumprod(1 - BETAS, dim=0)
OFFSET = 0.05
SMALLEST = 16 * 16
PLAIN_SAILING = 550
"""From this timestep on the error that stays is about the same."""


@dataclass(frozen=True)
class Noised:
    """noisy, velocity: [images, channels, h, w]; timestep: [images] in 0..999."""

    noisy: Tensor
    timestep: Tensor
    velocity: Tensor


def timesteps(latents: Tensor) -> Tensor:
    """One for every image: a quarter anywhere, the others mostly where the words decide, which is deeper in the noise
    the more cells an image has to show them with."""
    count, cells = len(latents), latents[0, 0].numel()
    middle = 0.9 + 0.25 * math.log2(cells / SMALLEST)
    share = torch.where(torch.rand(count) < 0.25, torch.rand(count), torch.sigmoid(1.1 * torch.randn(count) + middle))
    return share.mul(STEPS).long().clamp(0, STEPS - 1)


def importance(timestep: Tensor) -> Tensor:
    """What the errors at a timestep count, so that all count about alike: near the end, where words no longer matter,
    what cannot be known of fine details is three times as large."""
    return (timestep / PLAIN_SAILING).clamp(0.1, 1) ** 0.7


def late_timesteps(latents: Tensor) -> Tensor:
    """The last third of the way: what a refiner sees."""
    return torch.rand(len(latents)).mul(0.35 * STEPS).long()


def noised(latents: Tensor, timestep: Tensor) -> Noised:
    """Mix latents with fresh noise, whose mean wanders a little so that wholly dark or bright pictures are learnt."""
    noise = torch.randn_like(latents) + OFFSET * torch.randn(*latents.shape[:2], 1, 1)
    signal = SIGNAL[timestep].view(-1, 1, 1, 1)
    clean, dirty = signal.sqrt(), (1 - signal).sqrt()
    return Noised(clean * latents + dirty * noise, timestep, clean * noise - dirty * latents)
