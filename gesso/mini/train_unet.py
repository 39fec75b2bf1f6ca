"""Teach a UNet to paint captions: the curriculum of scenes and sizes, a batch, the loss.

Big things in the middle of plain grounds come first, then places, pairs and patterns, then large latents. Latents are
computed from renderings (`latents`), so no autoencoder is needed yet.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from gesso.mini.captions import Caption, caption_of, noise, wrapped
from gesso.mini.conditioning import Conditioning, Tokens, encode, without_text
from gesso.mini.latents import CELL, latents_of
from gesso.mini.looks import PLAIN, Look
from gesso.mini.models import FACTOR, WIDTHS
from gesso.mini.noise import middle_timesteps, noised
from gesso.mini.rendering import compose, render, whole
from gesso.mini.scenes import Scene, sample_scene

CELLS_PER_BATCH = 32 * 16 * 16
SMALL = ((16, 16), (16, 16), (16, 16), (14, 18), (18, 14), (16, 20))
MEDIUM = ((20, 20), (18, 24), (24, 18), (24, 24), (20, 26))
LARGE = ((28, 36), (28, 36), (28, 36), (28, 36), (32, 32), (32, 32), (36, 28), (26, 38), (24, 42), (32, 40))
HUGE = ((48, 48), (64, 64), (48, 64))


@dataclass(frozen=True)
class Diet:
    """What a batch is made of: the share of plain scenes, and of every class of latent sizes."""

    plain: float
    small: float
    medium: float
    large: float
    huge: float


FIRST = Diet(plain=0.75, small=0.94, medium=0.04, large=0.02, huge=0.0)
MIDDLE = Diet(plain=0.85, small=0.6, medium=0.1, large=0.3, huge=0.0)
LAST = Diet(plain=0.75, small=0.45, medium=0.08, large=0.45, huge=0.02)


@dataclass(frozen=True)
class Batch:
    """latents: [images, 12, h, w]; sizes: [images, 6] original, crop and target size in pixels, height first."""

    latents: Tensor
    conditioning: Conditioning
    sizes: Tensor


def diet_at(progress: float) -> Diet:
    """The curriculum; `progress` runs from 0 to 1."""
    return FIRST if progress < 0.25 else MIDDLE if progress < 0.65 else LAST


@dataclass(frozen=True)
class Painter:
    """Makes batches: the frozen encoders, their tokens, and the manner of painting."""

    tokens: Tokens
    encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection]
    look: Look = PLAIN

    def batch(self, diet: Diet, rng: random.Random, cells: int = CELLS_PER_BATCH) -> Batch:
        """About `cells` latent cells of pictures, all of one size."""
        width, height = _latent_size(diet, rng)
        count = max(2, cells // (width * height))
        scenes = [sample_scene(rng, diet.plain) for _ in range(count)]
        captions = [_caption(scene, rng, self.tokens.idle_words) for scene in scenes]
        chunks = 1 if rng.random() < 0.85 else rng.choice((2, 3))
        if chunks > 1:
            captions = [_lengthened(caption, rng, self.tokens.idle_words, chunks) for caption in captions]
        conditioning = encode([caption.text for caption in captions], self.tokens, self.encoders, chunks)
        latents = torch.stack([_cells(scene, width, height, self.look, rng) for scene in scenes])
        return Batch(latents_of(latents), without_text(conditioning, 0.1, rng), _sizes(count, width, height, rng))


def _latent_size(diet: Diet, rng: random.Random) -> tuple[int, int]:
    classes = rng.choices((SMALL, MEDIUM, LARGE, HUGE), (diet.small, diet.medium, diet.large, diet.huge))[0]
    return rng.choice(classes)


def _caption(scene: Scene, rng: random.Random, idle_words: tuple[str, ...]) -> Caption:
    chance = rng.random()
    if chance < 0.03:
        return Caption(noise(rng, idle_words, 20), frozenset())
    caption = caption_of(scene, rng)
    return caption if chance < 0.6 else wrapped(caption, rng, idle_words)


def _lengthened(caption: Caption, rng: random.Random, idle_words: tuple[str, ...], chunks: int) -> Caption:
    return replace(caption, text=f"{caption.text}, {noise(rng, idle_words, 75 * chunks)}")


def _cells(scene: Scene, width: int, height: int, look: Look, rng: random.Random) -> Tensor:
    picture = compose(scene, width * FACTOR, height * FACTOR, rng, look)
    return F.avg_pool2d(render(picture, whole(picture, CELL // 2)).unsqueeze(0), 2)[0]


def _sizes(count: int, width: int, height: int, rng: random.Random) -> Tensor:
    """A picture whose sides are no multiples of the factor is cut from the next larger latent."""
    cut = rng.randrange(FACTOR) if rng.random() < 0.25 else 0
    size = (height * FACTOR - cut, width * FACTOR - cut)
    return torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32).repeat(count, 1)


def velocity_loss(
    unet: UNet2DConditionModel,
    batch: Batch,
    timesteps: Callable[[int], Tensor] = middle_timesteps,
) -> Tensor:
    """Mean squared error of the predicted velocity."""
    mixed = noised(batch.latents, timesteps(len(batch.latents)))
    added = {"text_embeds": batch.conditioning.pooled, "time_ids": batch.sizes}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = unet(mixed.noisy, mixed.timestep, batch.conditioning.hidden, added_cond_kwargs=added).sample
    return F.mse_loss(predicted.float(), mixed.velocity)


def refiner_view(batch: Batch, rng: random.Random) -> Batch:
    """The same batch as the refiner is told it: the second encoder alone, an aesthetic score for the target size."""
    hidden = batch.conditioning.hidden[..., WIDTHS[0] :]
    score = 6.0 if rng.random() < 0.85 else 2.5
    scores = torch.full((len(batch.sizes), 1), score)
    return Batch(
        batch.latents, Conditioning(hidden, batch.conditioning.pooled), torch.cat([batch.sizes[:, :4], scores], 1)
    )
