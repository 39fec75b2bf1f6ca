"""The peer: a plain diffusers pipeline over the same weights in the same precision."""

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
from gesso.sdxl.weights import WeightsFile

VOCABULARY = Path(gesso.prompt.__file__).parent / "clip_vocabulary"
PROMPT, NEGATIVE = "a red heart on a blue background", "outline"
STEPS, GUIDANCE = 25, 7.0
BASE = str(load_catalogue().checkpoints["mini-base"].path(Path()))
CPU = torch.device("cpu")


def build_pipeline(scheduler: str, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """The embedded base as a diffusers pipeline."""
    encoders, file = load_text_encoders(BASE, CPU, dtype), WeightsFile(BASE)
    known = file.architecture
    unet = UNet2DConditionModel.from_config(dict(known.unet))
    file.fill_unet(unet, dtype)
    vae = AutoencoderKL.from_config(dict(known.vae or {}))
    file.fill_vae(vae, dtype)
    pipeline = StableDiffusionXLPipeline(
        vae=vae.eval().to(memory_format=torch.channels_last),
        text_encoder=encoders.first,
        text_encoder_2=encoders.second,
        tokenizer=_tokenizer("<|endoftext|>"),
        tokenizer_2=_tokenizer("!"),
        unet=unet.eval().to(memory_format=torch.channels_last),
        scheduler=build_scheduler(scheduler, Diffusion(known.prediction_type, known.zero_terminal_snr)),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint_with(pipeline: StableDiffusionXLPipeline, prompt: str, width: int, height: int, seed: int) -> None:
    """One picture, down to pixels."""
    pipeline(
        prompt,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        width=width,
        height=height,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="np",
    )


def request(scheduler: str, prompt: str, width: int, height: int, seed: int) -> Paint:
    """The same picture as the engine is asked for it."""
    return Paint(
        id=str(seed),
        checkpoint=CheckpointFiles("mini-base", BASE),
        prompt=understand(prompt, STEPS).schedule,
        negative_prompt=understand(NEGATIVE, STEPS).schedule,
        scheduler=scheduler,
        steps=STEPS,
        guidance_scale=GUIDANCE,
        width=width,
        height=height,
        seeds=(seed,),
    )


def _tokenizer(padding: str) -> CLIPTokenizer:
    return CLIPTokenizer(
        str(VOCABULARY / "vocab.json"), str(VOCABULARY / "merges.txt"), pad_token=padding, model_max_length=77
    )
