"""Lone runs: what plain diffusers pipelines paint of the random checkpoints, one request at a time.

With the samplers that diffusers has no class for, what their published loops paint through the pipelines' models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor
from transformers import CLIPTokenizer

import gesso.prompt
from gesso.diffusion.noise import NoiseSource
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength, WholeRun
from gesso.sdxl.architecture import Kind, PredictionType
from gesso.sdxl.text import Conditioning
from tests.diffusion.published_loops import EULERS, published_run
from tests.tiny import architecture, build_parts

VOCABULARY = Path(gesso.prompt.__file__).parent / "clip_vocabulary"


@dataclass(frozen=True)
class LoneRun:
    """One request of one image, as diffusers' callers would put it."""

    scheduler: str
    steps: int
    seed: int
    prompt: str
    negative_prompt: str | None
    guidance_scale: float
    width: int = 64
    height: int = 96
    prediction_type: PredictionType = "epsilon"
    zero_terminal_snr: bool = False


def text_to_image_skipping(run: LoneRun, clip_skip: int) -> Tensor:
    """The final latent; `clip_skip` as diffusers counts it."""
    pipeline = _pipeline(StableDiffusionXLPipeline, run)
    return pipeline(**_arguments(run, None), width=run.width, height=run.height, clip_skip=clip_skip).images[0]


def text_to_image(run: LoneRun, denoising_end: float | None = None, source: NoiseSource | None = None) -> Tensor:
    """The final latent, [channels, h, w]."""
    pipeline = _pipeline(StableDiffusionXLPipeline, run)
    if run.scheduler in EULERS:
        span = WholeRun() if denoising_end is None else DenoisingEnd(denoising_end)
        return _published(pipeline, run, span, torch.zeros(_shape(run)), source or NoiseSource(run.seed))
    output = pipeline(**_arguments(run, source), denoising_end=denoising_end, width=run.width, height=run.height)
    return output.images[0]


def image_to_image(run: LoneRun, start: Image.Image, strength: float) -> Tensor:
    """The final latent, [channels, h, w]."""
    pipeline = _pipeline(StableDiffusionXLImg2ImgPipeline, run)
    if run.scheduler in EULERS:
        source = NoiseSource(run.seed)
        pixels = pipeline.image_processor.preprocess(start)
        latents = pipeline.prepare_latents(pixels, None, 1, 1, torch.float32, "cpu", source.generator, add_noise=False)
        return _published(pipeline, run, Strength(strength), latents, source)
    return pipeline(**_arguments(run, None), image=start, strength=strength).images[0]


def text_to_image_with_change(run: LoneRun, then: str, after: int) -> Tensor:
    """The final latent of a run whose prompt becomes another after so many steps."""
    pipeline = _pipeline(StableDiffusionXLPipeline, run)
    change = _change(pipeline, run, then, after)
    return pipeline(**_arguments(run, None), width=run.width, height=run.height, **change).images[0]


def image_to_image_with_change(run: LoneRun, then: str, after: int, start: Image.Image, strength: float) -> Tensor:
    """The same from a start image; steps are counted from the first that is really taken."""
    pipeline = _pipeline(StableDiffusionXLImg2ImgPipeline, run)
    change = _change(pipeline, run, then, after)
    return pipeline(**_arguments(run, None), image=start, strength=strength, **change).images[0]


def text_to_image_told(run: LoneRun, positive: Conditioning, negative: Conditioning) -> Tensor:
    """The final latent of a run that is told these embeddings."""
    arguments = {name: value for name, value in _arguments(run, None).items() if "prompt" not in name}
    embeddings = {
        "prompt_embeds": positive.context[None],
        "pooled_prompt_embeds": positive.pooled[None],
        "negative_prompt_embeds": negative.context[None],
        "negative_pooled_prompt_embeds": negative.pooled[None],
    }
    pipeline = _pipeline(StableDiffusionXLPipeline, run)
    return pipeline(**arguments, **embeddings, width=run.width, height=run.height).images[0]


def _change(pipeline: Any, run: LoneRun, then: str, after: int) -> dict[str, Any]:
    """Arguments that have a pipeline take up another prompt after so many steps."""
    with torch.no_grad():
        conditional, unconditional, pooled, empty = pipeline.encode_prompt(then, negative_prompt=run.negative_prompt)
    later = {
        "prompt_embeds": torch.cat([unconditional, conditional]),
        "add_text_embeds": torch.cat([empty, pooled]),
    }
    return {
        "callback_on_step_end": lambda _, step, timestep, tensors: later if step + 1 == after else tensors,
        "callback_on_step_end_tensor_inputs": [*later],
    }


def base_and_refiner(run: LoneRun, fraction: float) -> Tensor:
    """The final latent of an ensemble of experts, handed over where diffusers does."""
    source = NoiseSource(run.seed)
    between = text_to_image(run, denoising_end=fraction, source=source)[None]
    refiner = _refiner(run)
    if run.scheduler in EULERS:
        return _published(refiner, run, DenoisingStart(fraction), between, source)
    return refiner(**_arguments(run, source), image=between, denoising_start=fraction).images[0]


def base_then_refiner(run: LoneRun, strength: float) -> Tensor:
    """The final latent of a whole base run, redrawn by the refiner."""
    source = NoiseSource(run.seed)
    between = text_to_image(run, source=source)[None]
    return _refiner(run)(**_arguments(run, source), image=between, strength=strength).images[0]


def base_and_refiner_by_steps(run: LoneRun, fraction: float) -> Tensor:
    """The final latent of an ensemble handed over at a step's end: a plain loop, for the samplers that evaluate their
    model twice a step. The base takes every step that begins before the cut in the noise schedule."""
    source = NoiseSource(run.seed)
    base, refiner = _pipeline(StableDiffusionXLPipeline, run), _refiner(run)
    latents = torch.randn(_shape(run), generator=source.generator)
    for pipeline in (base, refiner):
        pipeline.scheduler.set_timesteps(run.steps)
    cutoff = round(1000 - fraction * 1000)
    timesteps = base.scheduler.timesteps
    cut = 2 * sum(float(timestep) >= cutoff for timestep in timesteps[::2])
    latents = latents * base.scheduler.init_noise_sigma
    latents = _loop(base, run, latents, timesteps[:cut], source)
    refiner.scheduler.set_begin_index(cut)
    return _loop(refiner, run, latents, timesteps[cut:], source)[0]


@cache
def _parts(kind: Kind, prediction_type: PredictionType) -> dict[str, Any]:
    return build_parts(architecture(kind, prediction_type), seed=0 if kind == "base" else 1)


@cache
def _tokenizer(padding: str) -> CLIPTokenizer:
    """CLIP's, from the vocabulary that the package ships."""
    return CLIPTokenizer(
        str(VOCABULARY / "vocab.json"), str(VOCABULARY / "merges.txt"), pad_token=padding, model_max_length=77
    )


def decode(latent: Tensor) -> np.ndarray[Any, Any]:
    """The picture of a latent, [height, width, 3] uint8."""
    vae = _parts("base", "epsilon")["vae"]
    picture = vae.decode(latent[None] / vae.config.scaling_factor).sample[0]
    return ((picture / 2 + 0.5).clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


@torch.no_grad()
def _loop(pipeline: Any, run: LoneRun, latents: Tensor, timesteps: Tensor, source: NoiseSource) -> Tensor:
    model = _guided_model(pipeline, run)
    for timestep in timesteps:
        prediction = model(pipeline.scheduler.scale_model_input(latents, timestep), float(timestep))
        extra = pipeline.prepare_extra_step_kwargs(source.generator, 0.0)
        latents = pipeline.scheduler.step(prediction, timestep, latents, **extra).prev_sample
    return latents


@torch.no_grad()
def _published(pipeline: Any, run: LoneRun, span: Span, start: Tensor, source: NoiseSource) -> Tensor:
    pipeline.scheduler.set_timesteps(run.steps)
    model = _guided_model(pipeline, run)
    return published_run(run.scheduler, pipeline.scheduler, model, span, start, source)[-1][0].float()


def _guided_model(pipeline: Any, run: LoneRun) -> Callable[[Tensor, float], Tensor]:
    """The pipeline's UNet, told a scaled latent and a timestep."""
    conditional, unconditional, pooled, empty = pipeline.encode_prompt(run.prompt, negative_prompt=run.negative_prompt)
    refines = pipeline.text_encoder is None
    ends = ((2.5,), (6.0,)) if refines else ((run.height, run.width), (run.height, run.width))
    size_ids = torch.tensor([[run.height, run.width, 0, 0, *end] for end in ends], dtype=torch.float32)
    added = {"text_embeds": torch.cat([empty, pooled]), "time_ids": size_ids}
    context = torch.cat([unconditional, conditional])

    def model(seen: Tensor, timestep: float) -> Tensor:
        both = torch.cat([seen] * 2)
        rows = pipeline.unet(both, timestep, encoder_hidden_states=context, added_cond_kwargs=added).sample
        return rows[:1] + run.guidance_scale * (rows[1:] - rows[:1])

    return model


def _shape(run: LoneRun) -> tuple[int, int, int, int]:
    """Of a run's latents."""
    return (1, 4, run.height // 32, run.width // 32)


def _arguments(run: LoneRun, source: NoiseSource | None) -> dict[str, Any]:
    return {
        "prompt": run.prompt,
        "negative_prompt": run.negative_prompt,
        "num_inference_steps": run.steps,
        "guidance_scale": run.guidance_scale,
        "generator": (source or NoiseSource(run.seed)).generator,
        "output_type": "latent",
    }


def _pipeline(pipeline: Any, run: LoneRun) -> Any:
    built = pipeline(
        **_parts("base", run.prediction_type),
        tokenizer=_tokenizer("<|endoftext|>"),
        tokenizer_2=_tokenizer("!"),
        scheduler=_scheduler(run),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    built.set_progress_bar_config(disable=True)
    return built


def _refiner(run: LoneRun) -> Any:
    built = StableDiffusionXLImg2ImgPipeline(
        **_parts("refiner", run.prediction_type),
        text_encoder=None,
        tokenizer=None,
        tokenizer_2=_tokenizer("!"),
        scheduler=_scheduler(run),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    built.set_progress_bar_config(disable=True)
    return built


def _scheduler(run: LoneRun) -> Any:
    scheduler = build_scheduler(run.scheduler, Diffusion(run.prediction_type, run.zero_terminal_snr))
    if run.scheduler.startswith("DPM++ SDE"):
        scheduler.register_to_config(noise_sampler_seed=run.seed)
        scheduler.noise_sampler_seed = run.seed
    return scheduler
