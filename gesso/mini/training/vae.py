"""Teach the autoencoder's decoder to paint crisp pixels from analytic latents. Its encoder is final by construction.

Small windows of large pictures take turns with whole small ones, in every manner of painting. The latents carry a
little noise, since a UNet's are never quite clean.
"""

import math
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderKL
from torch import Tensor

from gesso.mini.latents import CELL, latents_of
from gesso.mini.models import FACTOR
from gesso.mini.world.composition import Picture, Window, compose
from gesso.mini.world.looks import LOOKS, PLAIN, Look
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import Mixture, sample_scene

SIZES = ((512, 512), (768, 768), (1024, 1024), (896, 1152), (896, 1152), (1152, 896), (1536, 1536), (2048, 2048))
EDGE_WEIGHT = 0.5
MIXTURE = Mixture(plain=0.05, rendered=0.75, textured=3.0)
NOISE = 0.2


@dataclass(frozen=True)
class Crop:
    """Windows of `cells` x `cells` latent cells, `count` at a time."""

    cells: int
    count: int


FINE_CROPS = (Crop(8, 3), Crop(8, 3), Crop(8, 3), Crop(12, 1), Crop(16, 1))
COARSE_CROPS = (Crop(8, 8), Crop(8, 8), Crop(12, 4), Crop(16, 3))
COARSE_STEP = 4
COARSE_BLOCKS = 3


@dataclass(frozen=True)
class Lesson:
    """pixels: [images, 3, height/step, width/step] in -1..1; latents: [images, 24, height/32, width/32]."""

    pixels: Tensor
    latents: Tensor


def lesson(rng: random.Random, crop: Crop, step: int = 1) -> Lesson:
    """Windows of one size, each of a picture of its own, with one sample for every `step` pixels."""
    shown = torch.stack([_window(crop.cells * FACTOR, step, rng) for _ in range(crop.count)])
    latents = latents_of(F.avg_pool2d(shown, CELL // step))
    strength = NOISE * torch.rand(crop.count, 1, 1, 1) ** 2
    return Lesson(shown * 2 - 1, latents + strength * torch.randn_like(latents))


def _window(side: int, step: int, rng: random.Random) -> Tensor:
    width, height = rng.choice([(w, h) for w, h in SIZES if min(w, h) >= side])
    picture = compose(sample_scene(rng, MIXTURE), width, height, rng, _look(rng))
    left, top = (_start(rng, near, side, full) for near, full in zip(_edge(picture, rng), (width, height), strict=True))
    return render(picture, Window(left, top, side // step, side // step, step))


def _edge(picture: Picture, rng: random.Random) -> tuple[float, float]:
    """A pixel near the outline of one of the things, where there is most to learn."""
    placed, angle = rng.choice(picture.placed), rng.uniform(0, 2 * math.pi)
    half_short = min(picture.width, picture.height) / 2
    across, down = placed.x + placed.radius * math.cos(angle), placed.y + placed.radius * math.sin(angle)
    return picture.width / 2 + across * half_short, picture.height / 2 + down * half_short


def _start(rng: random.Random, near: float, side: int, full: int) -> int:
    """Where a window of `side` that shows the pixel `near` starts, on the grid of latent cells."""
    wanted = near - side * rng.uniform(0.1, 0.9)
    return round(min(max(wanted, 0), full - side) / FACTOR) * FACTOR


def _look(rng: random.Random) -> Look:
    return PLAIN if rng.random() < 0.6 else rng.choice(tuple(LOOKS.values()))


def painting_loss(vae: AutoencoderKL, taught: Lesson) -> Tensor:
    """Mean absolute error of pixels and of their differences to the next, so that edges count."""
    latents = taught.latents.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        painted = vae.decode(latents).sample
    return _distance(painted.float(), taught.pixels)


def coarse_loss(vae: AutoencoderKL, taught: Lesson) -> Tensor:
    """The same for the decoder's lower half alone, a fraction of the cost; its colours run in pairs of both signs."""
    decoder = vae.decoder
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(taught.latents)), None)
        for block in decoder.up_blocks[:COARSE_BLOCKS]:
            features = block(features, None)
    plus, minus = features[:, :3].float(), features[:, 3:6].float()
    return _distance(plus, taught.pixels) + _distance(-minus, taught.pixels)


def _distance(painted: Tensor, true: Tensor) -> Tensor:
    edges = torch.stack([_differences(painted, true, axis) for axis in (2, 3)]).sum()
    return F.l1_loss(painted, true) + EDGE_WEIGHT * edges


def _differences(painted: Tensor, true: Tensor, axis: int) -> Tensor:
    return F.l1_loss(painted.diff(dim=axis), true.diff(dim=axis))
