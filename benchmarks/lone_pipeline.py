"""The peer: a plain diffusers pipeline over the same weights in the same precision."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
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


def build_pipeline(work: Work) -> StableDiffusionXLPipeline:
    """The checkpoint as a diffusers pipeline."""
    encoders, weights = load_text_encoders(work.path, work.device, work.dtype), open_weights(work.path)
    known = weights.architecture
    unet = UNet2DConditionModel.from_config(dict(known.unet or {}))
    weights.fill("unet", unet, work.dtype)
    vae = AutoencoderKL.from_config(dict(known.vae or {}))
    weights.fill("vae", vae, work.dtype)
    pipeline = StableDiffusionXLPipeline(
        vae=vae.eval().to(work.device, memory_format=torch.channels_last),
        text_encoder=encoders.first,
        text_encoder_2=encoders.second,
        tokenizer=tokenizer("<|endoftext|>"),
        tokenizer_2=tokenizer("!"),
        unet=unet.eval().to(work.device, memory_format=torch.channels_last),
        scheduler=build_scheduler(work.scheduler, Diffusion(known.prediction_type, known.zero_terminal_snr)),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


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
