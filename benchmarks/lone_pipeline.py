"""The peer: a plain diffusers pipeline over the same weights in the same precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTokenizer

import gesso.prompt
from gesso.catalogue.catalogue import load_catalogue
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.engine.messages import CheckpointFiles, Paint
from gesso.prompt.understanding import understand
from gesso.sdxl.checkpoint import load_text_encoders
from gesso.sdxl.weights import open_weights

VOCABULARY = Path(gesso.prompt.__file__).parent / "clip_vocabulary"
PROMPT, NEGATIVE = "a red heart on a blue background", "outline"
BASE = str(load_catalogue().checkpoints["mini-base"].path(Path()))
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Work:
    """What both sides are asked for, and on what: by default the embedded model, on a CPU."""

    width: int
    height: int
    dtype: torch.dtype
    scheduler: str = "UniPC"
    steps: int = 25
    guidance_scale: float = 7.0
    path: str = BASE
    device: torch.device = CPU
    lender: str | None = None
    """The file that has the encoders and the VAE, if the one at `path` has none."""


def build_pipeline(work: Work) -> StableDiffusionXLPipeline:
    """The checkpoint as a diffusers pipeline."""
    pipeline = StableDiffusionXLPipeline(**_components(work))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def build_from_image(pipeline: StableDiffusionXLPipeline) -> StableDiffusionXLImg2ImgPipeline:
    """The same networks, from a start image."""
    from_image = StableDiffusionXLImg2ImgPipeline(**pipeline.components, add_watermarker=False)
    from_image.set_progress_bar_config(disable=True)
    return from_image


def build_refiner(work: Work) -> StableDiffusionXLImg2ImgPipeline:
    """The checkpoint, a refiner, as the pipeline that goes on with a base's latents."""
    without = {"text_encoder": None, "tokenizer": None}
    refiner = StableDiffusionXLImg2ImgPipeline(**_components(work) | without, requires_aesthetics_score=True)
    # Else it knows latents by their four channels, and the embedded model's have 24.
    refiner.image_processor.register_to_config(vae_latent_channels=refiner.vae.config.latent_channels)
    refiner.set_progress_bar_config(disable=True)
    return refiner


def diffusion_of(path: str) -> Diffusion:
    """What the checkpoint at `path` learnt to undo, which its schedulers are told."""
    known = open_weights(path).architecture
    return Diffusion(known.prediction_type, known.zero_terminal_snr)


def _components(work: Work) -> dict[str, Any]:
    lender = work.lender or work.path
    encoders = load_text_encoders(lender, work.device, work.dtype)
    vae = _filled("vae", AutoencoderKL, lender, work)
    # Scaled by itself it would encode in float32, which the engine's does only where its own precision overflows.
    vae.register_to_config(force_upcast=False)
    return {
        "vae": vae,
        "text_encoder": encoders.first,
        "text_encoder_2": encoders.second,
        "tokenizer": tokenizer("<|endoftext|>"),
        "tokenizer_2": tokenizer("!"),
        "unet": _filled("unet", UNet2DConditionModel, work.path, work),
        "scheduler": build_scheduler(work.scheduler, diffusion_of(work.path)),
        "force_zeros_for_empty_prompt": open_weights(work.path).architecture.force_zeros_for_empty_prompt,
        "add_watermarker": False,
    }


def _filled(part: Literal["unet", "vae"], form: Any, path: str, work: Work) -> Any:
    """A network of diffusers' own with the weights at `path`."""
    weights = open_weights(path)
    with torch.device("meta"):  # the weights that it would make for itself are thrown away
        network = form.from_config(dict(getattr(weights.architecture, part) or {}))
    weights.fill(part, network, work.dtype)
    return network.eval().to(work.device, memory_format=torch.channels_last)


def paint_with(pipeline: StableDiffusionXLPipeline, work: Work, prompt: str, seed: int) -> None:
    """One picture, down to pixels."""
    pipeline(
        prompt,
        negative_prompt=NEGATIVE,
        num_inference_steps=work.steps,
        guidance_scale=work.guidance_scale,
        width=work.width,
        height=work.height,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    )


def request(work: Work, prompt: str, seed: int) -> Paint:
    """The same picture as the engine is asked for it."""
    return Paint(
        id=str(seed),
        checkpoint=CheckpointFiles("measured", work.path),
        prompt=understand(prompt, work.steps).schedule,
        negative_prompt=understand(NEGATIVE, work.steps).schedule,
        scheduler=work.scheduler,
        steps=work.steps,
        guidance_scale=work.guidance_scale,
        width=work.width,
        height=work.height,
        seeds=(seed,),
    )


def tokenizer(padding: str) -> CLIPTokenizer:
    """CLIP's, as one of SDXL's two encoders is given it."""
    return CLIPTokenizer(
        str(VOCABULARY / "vocab.json"), str(VOCABULARY / "merges.txt"), pad_token=padding, model_max_length=77
    )
