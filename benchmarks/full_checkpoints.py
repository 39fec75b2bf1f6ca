"""Checkpoints of SDXL's full size as people have them: how long they take to load, and whether what they paint is what
diffusers paints of the same files.

A base and a refiner with random weights are written in float16 as single files, and by diffusers as folders (27 GB in
all, in --folder). Goals: each is there within 15 s on two cores, without a network; and pictures of 512 x 512 are those
of diffusers' pipelines: to a rounding in float32 (`--float32`, the base alone: all of it would take 24 GB), and in
bfloat16 as nearly as its own rounding lets anything be told. For the latter the pipelines are given float32 latents, as
the engine's are; how far they come from themselves when they round them to bfloat16 at every step, as they do unasked,
is reported beside it. `--small` shows on a shape of next to no size that all of it works.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig

from benchmarks.full_size import SMALL, write_full_size
from benchmarks.lone_pipeline import NEGATIVE, PROMPT, tokenizer
from benchmarks.report import report
from gesso.engine.loop import Loop
from gesso.engine.messages import CheckpointFiles, Event, Failed, Paint, Painted, Refinement
from gesso.engine.models import Models
from gesso.engine.plan import wanted
from gesso.prompt.understanding import understand
from gesso.sdxl.architecture import SDXL_BASE, SDXL_REFINER, Architecture

STEPS, SIDE, SEED, GUIDANCE, FRACTION = 4, 512, 7, 5.0, 0.5
LONGEST = 15.0
PIPELINES = {"base": StableDiffusionXLPipeline, "refiner": StableDiffusionXLImg2ImgPipeline}
SMALL_REFINER = replace(
    SMALL,
    kind="refiner",
    force_zeros_for_empty_prompt=False,
    unet=dict(SMALL.unet or {}) | {"cross_attention_dim": 1280, "projection_class_embeddings_input_dim": 2560},
    text_encoder=None,
)


@dataclass(frozen=True)
class Place:
    """Where the files of a run lie, of which shapes they are, and what is computed in."""

    folder: Path
    shapes: dict[str, Architecture]
    dtype: torch.dtype

    def single(self, kind: str) -> Path:
        return self.folder / f"{kind}.safetensors"

    def unpacked(self, kind: str) -> Path:
        return self.folder / f"{kind}-folder"

    def configs(self, kind: str) -> Path:
        return self.folder / f"{kind}-configs"

    def kept(self, name: str) -> Path:
        """A picture, [height, width, 3] uint8, or latents."""
        return self.folder / f"{name}.npy"


def write(place: Place) -> None:
    """The single files, and what diffusers has to be told about them when there is no network."""
    for kind, shape in place.shapes.items():
        write_full_size(place.single(kind), shape, torch.float16)
        _write_configs(place.configs(kind), kind, shape)


def _write_configs(folder: Path, kind: str, shape: Architecture) -> None:
    index: dict[str, object] = {
        "_class_name": PIPELINES[kind].__name__,
        "force_zeros_for_empty_prompt": shape.force_zeros_for_empty_prompt,
        "requires_aesthetics_score": kind == "refiner",
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": [None, None],
        "tokenizer": [None, None],
    }
    for name, part in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        with torch.device("meta"):
            part.from_config(dict(getattr(shape, name))).save_config(folder / name)
        index[name] = ["diffusers", part.__name__]
    for number, class_name, padding in (
        ("", "CLIPTextModel", "<|endoftext|>"),
        ("_2", "CLIPTextModelWithProjection", "!"),
    ):
        if (config := getattr(shape, f"text_encoder{number}")) is not None:
            CLIPTextConfig(**config, architectures=[class_name]).save_pretrained(folder / f"text_encoder{number}")
            tokenizer(padding).save_pretrained(folder / f"tokenizer{number}")
            index[f"text_encoder{number}"] = ["transformers", class_name]
            index[f"tokenizer{number}"] = ["transformers", "CLIPTokenizer"]
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    ).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(index))


def paint_with_diffusers(place: Place) -> None:
    """The base alone; the base and the refiner; and their folders, as diffusers saves them."""
    base = _pipeline(place, "base")
    base.save_pretrained(place.unpacked("base"))
    shape = 1, base.unet.config.in_channels, SIDE // base.vae_scale_factor, SIDE // base.vae_scale_factor
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
    arguments: dict[str, Any] = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
    }
    sized = arguments | {"width": SIDE, "height": SIDE}
    plain = base(**sized, latents=noise.to(place.dtype), output_type="np").images[0]
    _in_float32(base, place.dtype)
    exact = base(**sized, latents=noise, output_type="np").images[0]
    half = base(**sized, latents=noise, output_type="latent", denoising_end=FRACTION).images
    for name, picture in (("rounded", plain), ("base", exact)):
        np.save(place.kept(name), (picture * 255).round().astype(np.uint8))
    if "refiner" not in place.shapes:
        return
    vae = base.vae
    del base
    refiner = _pipeline(place, "refiner")
    refiner.save_pretrained(place.unpacked("refiner"))
    _in_float32(refiner, place.dtype)
    latents = refiner(**arguments, image=half, output_type="latent", denoising_start=FRACTION).images
    with torch.no_grad():
        decoded = vae.decode((latents / vae.config.scaling_factor).to(place.dtype)).sample[0].float()
    picture = (decoded / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    np.save(place.kept("refiner"), (picture * 255).round().astype(np.uint8))


def _pipeline(place: Place, kind: str) -> Any:
    pipeline: Any = PIPELINES[kind].from_single_file(
        str(place.single(kind)), config=str(place.configs(kind)), torch_dtype=place.dtype, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    # Scaled by itself the VAE would run in float32, which the engine does only where bfloat16 overflows.
    pipeline.vae.register_to_config(force_upcast=False)
    return pipeline


def _in_float32(pipeline: Any, dtype: torch.dtype) -> None:
    """Latents stay float32 between the networks, which compute in what they did before."""
    call, decode = pipeline.unet.forward, pipeline.vae.decode

    def forward(sample: torch.Tensor, *arguments: Any, **more: Any) -> Any:
        predicted = call(sample.to(dtype), *arguments, **more)
        return (predicted[0].float(), *predicted[1:])

    pipeline.unet.forward = forward
    pipeline.vae.decode = lambda latents, *arguments, **more: decode(latents.to(dtype), *arguments, **more)


def paint_with_engine(place: Place, form: str) -> None:
    """The same pictures of files of that form, and the seconds that loading took."""
    path = place.single if form == "single" else place.unpacked
    files = {kind: CheckpointFiles(kind, str(path(kind))) for kind in place.shapes}
    events: list[Event] = []
    models = Models(torch.device("cpu"), place.dtype)
    loop = Loop(models, events.append)
    seconds = {}
    for kind in place.shapes:
        seconds[kind] = _load(models, request(files, kind))
        loop.submit(request(files, kind))
    while not loop.idle:
        loop.turn()
    assert not [event for event in events if isinstance(event, Failed)], events
    for event in events:
        if isinstance(event, Painted):
            picture = np.frombuffer(event.pixels.rgb, np.uint8).reshape(SIDE, SIDE, 3)
            np.save(place.kept(f"{form}-{event.id}"), picture)
    (place.folder / f"{form}.json").write_text(json.dumps(seconds))


def _load(models: Models, paint: Paint) -> float:
    """Seconds until everything that a request needs and that is not there yet is there."""
    began = time.monotonic()
    names = wanted(paint, models)
    held = models.hold((*names.encoders, *names.painters), names)
    assert held is not None
    while not held.is_here:
        models.wait(1)
        models.settle()
    models.let_go(held)
    return time.monotonic() - began


def request(files: dict[str, CheckpointFiles], kind: str) -> Paint:
    """What diffusers is asked for, as the engine is asked for it: by the base alone, or with the refiner."""
    return Paint(
        id=kind,
        checkpoint=files["base"],
        prompt=understand(PROMPT, STEPS).schedule,
        negative_prompt=understand(NEGATIVE, STEPS).schedule,
        scheduler="Euler",
        steps=STEPS,
        guidance_scale=GUIDANCE,
        width=SIDE,
        height=SIDE,
        seeds=(SEED,),
        refinement=Refinement(files["refiner"], FRACTION, 0.5) if kind == "refiner" else None,
    )


def _row(place: Place, form: str, kind: str) -> dict[str, object]:
    seconds = json.loads((place.folder / f"{form}.json").read_text())[kind]
    ours, theirs = (np.load(place.kept(name)).astype(int) for name in (f"{form}-{kind}", kind))
    return {
        "what": f"{kind}, {'single file' if form == 'single' else 'folder'}",
        "loaded in s": seconds,
        "goal": LONGEST,
        "met": "yes" if seconds <= LONGEST else "no",
    } | _difference(ours, theirs)


def _rounding(place: Place) -> dict[str, object]:
    rounded, exact = (np.load(place.kept(name)).astype(int) for name in ("rounded", "base"))
    unloaded = {"what": "diffusers' base, latents rounded", "loaded in s": "", "goal": "", "met": ""}
    return unloaded | _difference(rounded, exact)


def _difference(one: np.ndarray, other: np.ndarray) -> dict[str, object]:
    apart = np.abs(one - other)
    return {
        "pixels' greatest difference, of 255": int(apart.max()),
        "pixels within 1": f"{(apart <= 1).mean():.2%}",
        "mean difference": float(apart.mean()),
    }


def _apart(work: Callable[..., None], *arguments: object) -> None:
    """In a process of its own, whose memory is free again afterwards."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, work.__name__


def main() -> None:
    """Write, paint, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--folder", type=Path, help="where there is room; by default a temporary one")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    base, refiner = (SMALL, SMALL_REFINER) if arguments.small else (SDXL_BASE, SDXL_REFINER)
    shapes = {"base": base} if arguments.float32 else {"base": base, "refiner": refiner}
    dtype = torch.float32 if arguments.float32 else torch.bfloat16
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        place = Place(Path(folder), shapes, dtype)
        _apart(write, place)
        _apart(paint_with_diffusers, place)
        for form in ("single", "folder"):
            _apart(paint_with_engine, place, form)
        rows = [_row(place, form, kind) for form in ("single", "folder") for kind in shapes]
        if dtype == torch.bfloat16:
            rows.append(_rounding(place))
        report(f"Full-size checkpoints in {dtype}", rows)


if __name__ == "__main__":
    main()
