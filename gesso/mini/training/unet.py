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

from gesso.mini.latents import CELL, latents_of
from gesso.mini.models import FACTOR, WIDTHS
from gesso.mini.training.conditioning import Conditioning, encode, without_text
from gesso.mini.training.noise import Noised, importance, noised, timesteps
from gesso.mini.training.speech import Speech
from gesso.mini.world.captions import Caption, noise
from gesso.mini.world.composition import compose, whole
from gesso.mini.world.looks import PLAIN, Look
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import Mixture, Scene, sample_scene

CELLS_PER_BATCH = 24 * 16 * 16
SMALL = ((16, 16), (16, 16), (16, 16), (14, 18), (18, 14), (16, 20), (20, 16), (16, 24), (24, 16))
MEDIUM = ((20, 20), (18, 24), (24, 18), (24, 24), (20, 26), (26, 20))
LARGE = ((28, 36), (28, 36), (36, 28), (32, 32), (32, 32), (24, 42), (42, 24), (32, 40), (40, 32))
HUGE = ((48, 48), (64, 64), (48, 64), (64, 48), (32, 64), (64, 32), (40, 60))
"""Latents' widths and heights."""
TAUGHT_GUIDANCE = 2.0
"""At which the family is taught to be right."""
FEWEST = 3
SAMPLES = 2
"""Samples to one side of a cell that a rendering is averaged over."""


@dataclass(frozen=True)
class Diet:
    """What batches are made of: the mixture of scenes, and the share of every class of latent sizes."""

    mixture: Mixture
    small: float
    medium: float
    large: float
    huge: float


FIRST = Diet(Mixture(plain=0.95), small=1.0, medium=0.0, large=0.0, huge=0.0)
MIDDLE = Diet(Mixture(plain=0.5), small=0.6, medium=0.13, large=0.25, huge=0.02)
LAST = Diet(Mixture(plain=0.35), small=0.42, medium=0.13, large=0.36, huge=0.09)
HARD = Diet(
    Mixture(plain=0.2, pairs=0.35, several=0.12, rendered=0.6, emphasised=0.25),
    small=0.5,
    medium=0.13,
    large=0.31,
    huge=0.06,
)


@dataclass(frozen=True)
class Batch:
    """latents: [images, channels, h, w]; sizes: [images, 6] original, crop and target size in pixels, height first."""

    latents: Tensor
    conditioning: Conditioning
    sizes: Tensor


def diet_at(progress: float) -> Diet:
    """The curriculum; `progress` runs from 0 to 1."""
    return FIRST if progress < 0.36 else MIDDLE if progress < 0.66 else LAST


@dataclass(frozen=True)
class Painter:
    """Makes batches: the frozen encoders, how scenes are told, and the look they are painted in."""

    speech: Speech
    encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection]
    look: Look = PLAIN

    def batch(self, diet: Diet, rng: random.Random, form: random.Random, cells: int = CELLS_PER_BATCH) -> Batch:
        """About `cells` latent cells of pictures, all of one size.

        `form` decides on the size and length of texts: with the same one, all of a team have equally much to do.
        """
        width, height = _latent_size(diet, form)
        count = max(FEWEST, cells // (width * height))
        scenes = [sample_scene(rng, diet.mixture) for _ in range(count)]
        captions = [self.speech.tell(scene, rng) for scene in scenes]
        if form.random() < 0.1:
            captions = [self._lengthened(caption, rng) for caption in captions]
        conditioning = encode([caption.text for caption in captions], self.encoders)
        latents = latents_of(torch.stack([_cells(scene, width, height, self.look, rng) for scene in scenes]))
        return Batch(latents, without_text(conditioning, 0.1, rng), _sizes(count, width, height, rng))

    def _lengthened(self, caption: Caption, rng: random.Random) -> Caption:
        """So long that it takes two chunks or more."""
        return replace(caption, text=f"{caption.text}, {noise(rng, self.speech.idle, 110)}")


def _latent_size(diet: Diet, rng: random.Random) -> tuple[int, int]:
    classes = rng.choices((SMALL, MEDIUM, LARGE, HUGE), (diet.small, diet.medium, diet.large, diet.huge))[0]
    return rng.choice(classes)


def _cells(scene: Scene, width: int, height: int, look: Look, rng: random.Random) -> Tensor:
    picture = compose(scene, width * FACTOR, height * FACTOR, rng, look)
    return F.avg_pool2d(render(picture, whole(picture, CELL // SAMPLES)).unsqueeze(0), SAMPLES)[0]


def _sizes(count: int, width: int, height: int, rng: random.Random) -> Tensor:
    """A picture whose sides are no multiples of the factor is cut from the next larger latent."""
    cut = rng.randrange(FACTOR) if rng.random() < 0.25 else 0
    size = (height * FACTOR - cut, width * FACTOR - cut)
    return torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32).repeat(count, 1)


def guided_loss(
    unet: UNet2DConditionModel,
    without: UNet2DConditionModel,
    batch: Batch,
    draw: Callable[[Tensor], Tensor] = timesteps,
) -> Tensor:
    """As `velocity_loss`, of what comes out under guidance: `without`, the average of `unet`, says what there would be
    without a caption, and TAUGHT_GUIDANCE times the way from there to what the caption makes of it has to be right.

    So what a caption changes is weakened by that factor, and a request's guidance makes up for it: pictures are right
    at guidances where those of other networks this small overshoot. As Chen and others have it in "Visual Generation
    Without Guidance" (https://arxiv.org/abs/2501.15420), section 3, the other way round.
    """
    mixed = noised(batch.latents, draw(batch.latents))
    told = batch.conditioning
    with torch.no_grad():
        blank = Conditioning(torch.zeros_like(told.hidden), torch.zeros_like(told.pooled))
        alone = _predicted(without, mixed, blank, batch.sizes)
    says_something = told.pooled.abs().amax(1) > 0
    factors = torch.where(says_something, TAUGHT_GUIDANCE, 1.0)
    guided = torch.lerp(alone, _predicted(unet, mixed, told, batch.sizes), factors.view(-1, 1, 1, 1))
    return (_errors(guided, mixed) / factors).mean()


def velocity_loss(
    unet: UNet2DConditionModel,
    batch: Batch,
    draw: Callable[[Tensor], Tensor] = timesteps,
) -> Tensor:
    """Mean squared error of the predicted velocity, at timesteps that `draw` chooses for the latents; each counts by
    its `importance`."""
    mixed = noised(batch.latents, draw(batch.latents))
    return _errors(_predicted(unet, mixed, batch.conditioning, batch.sizes), mixed).mean()


def _predicted(unet: UNet2DConditionModel, mixed: Noised, told: Conditioning, sizes: Tensor) -> Tensor:
    added = {"text_embeds": told.pooled, "time_ids": sizes}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted: Tensor = unet(mixed.noisy, mixed.timestep, told.hidden, added_cond_kwargs=added).sample
    return predicted.float()


def _errors(predicted: Tensor, mixed: Noised) -> Tensor:
    """[images]."""
    return (predicted - mixed.velocity).square().mean((1, 2, 3)) * importance(mixed.timestep)


def refiner_view(batch: Batch, rng: random.Random) -> Batch:
    """The same batch as the refiner is told it: the second encoder alone, an aesthetic score for the target size."""
    hidden = batch.conditioning.hidden[..., WIDTHS[0] :]
    score = 6.0 if rng.random() < 0.85 else 2.5
    scores = torch.full((len(batch.sizes), 1), score)
    return Batch(
        batch.latents, Conditioning(hidden, batch.conditioning.pooled), torch.cat([batch.sizes[:, :4], scores], 1)
    )
