"""Painting with a UNet in training, the plain way: Euler steps with guidance, one batch at a time.

The server paints with its own engine; this is for sheets while a training runs.
"""

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor

from gesso.mini.models import FACTOR, LATENT_CHANNELS
from gesso.mini.training.conditioning import Conditioning

STEPS = 25
GUIDANCE = 7.0


def scheduler() -> EulerDiscreteScheduler:
    """SDXL's own, for a network that predicts velocity."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
        prediction_type="v_prediction",
    )


@torch.no_grad()
def paint(
    unet: UNet2DConditionModel,
    conditioning: Conditioning,
    size: tuple[int, int],
    seed: int,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> Tensor:
    """size: width and height in pixels. Returns latents [captions, 24, height/32, width/32], rounded up."""
    width, height = size
    count = len(conditioning.pooled)
    cells = (-(-height // FACTOR), -(-width // FACTOR))
    generator = torch.Generator().manual_seed(seed)
    euler = scheduler()
    euler.set_timesteps(steps)
    latents: Tensor = torch.randn(count, LATENT_CHANNELS, *cells, generator=generator) * euler.init_noise_sigma
    hidden = torch.cat([torch.zeros_like(conditioning.hidden), conditioning.hidden])
    pooled = torch.cat([torch.zeros_like(conditioning.pooled), conditioning.pooled])
    sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32).repeat(2 * count, 1)
    added = {"text_embeds": pooled, "time_ids": sizes}
    for timestep in euler.timesteps:
        both = euler.scale_model_input(torch.cat([latents, latents]), timestep)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            without, told = unet(both, timestep, hidden, added_cond_kwargs=added).sample.float().chunk(2)
        latents = euler.step(without + guidance * (told - without), timestep, latents).prev_sample
    return latents
