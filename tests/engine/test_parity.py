"""The engine paints what a lone diffusers pipeline paints: every scheduler, text-to-image, image-to-image, refiner.

Samplers that diffusers has no class for are held against their published loops through the same models.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gesso.diffusion.names import SERVED
from gesso.engine import agreement
from gesso.engine.messages import CheckpointFiles, Paint, Painted, Pixels, Refinement, StartImage
from gesso.engine.models import Models
from gesso.prompt.chunks import Chunk
from gesso.prompt.understanding import understand
from gesso.sdxl.architecture import PredictionType
from gesso.sdxl.checkpoint import load_text_encoders
from gesso.sdxl.text import end_to_end
from tests.engine import lone
from tests.engine.lone import LoneRun
from tests.engine.recording import RecordingLoop
from tests.tiny import write_tiny

PREDICTION_TYPES: tuple[PredictionType, ...] = ("epsilon", "v_prediction")
TWO_EVALUATIONS = ("Heun", "DPM2", "DPM2 a", "DPM2 Karras", "DPM2 a Karras", "DPM++ SDE", "DPM++ SDE Karras")
RUN = LoneRun("", steps=8, seed=98877465625, prompt="a red boat", negative_prompt="fog", guidance_scale=5.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_checkpoints(folder: Path) -> Path:
    """A base and a refiner of either prediction."""
    for prediction_type in PREDICTION_TYPES:
        write_tiny(folder / f"base-{prediction_type}.safetensors", "base", prediction_type, seed=0)
        write_tiny(folder / f"refiner-{prediction_type}.safetensors", "refiner", prediction_type, seed=1)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(torch.device("cpu"), torch.float32)


def request_of(run: LoneRun, folder: Path) -> Paint:
    return Paint(
        id=f"{run.scheduler} {run.prediction_type}",
        checkpoint=CheckpointFiles("base", str(folder / f"base-{run.prediction_type}.safetensors")),
        prompt=understand(run.prompt, run.steps).schedule,
        negative_prompt=understand(run.negative_prompt or "", run.steps).schedule,
        scheduler=run.scheduler,
        steps=run.steps,
        guidance_scale=run.guidance_scale,
        width=run.width,
        height=run.height,
        seeds=(run.seed,),
    )


def refiner(run: LoneRun, folder: Path, fraction: float, strength: float = 0.5) -> Refinement:
    files = CheckpointFiles("refiner", str(folder / f"refiner-{run.prediction_type}.safetensors"))
    return Refinement(files, fraction, strength)


def check(models: Models, request: Paint, expected: Tensor) -> None:
    """Latents within 1e-4 relative, pixels within 1/255 on at least 99.9 %."""
    loop = RecordingLoop(models)
    loop.paint(request)
    assert not loop.failures()
    latent = loop.latents[request.id]
    assert (latent - expected).abs().max() <= 1e-4 * expected.abs().max()
    (painted,) = [event for event in loop.events if isinstance(event, Painted)]
    picture = np.frombuffer(painted.pixels.rgb, np.uint8).reshape(request.height, request.width, 3)
    apart = np.abs(picture.astype(int) - lone.decode(expected).astype(int))
    assert (apart <= 1).mean() >= 0.999


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("scheduler", SERVED)
def test_text_to_image_is_the_pipelines(
    scheduler: str, prediction_type: PredictionType, folder: Path, models: Models
) -> None:
    run = replace(RUN, scheduler=scheduler, prediction_type=prediction_type)
    check(models, request_of(run, folder), lone.text_to_image(run))


@pytest.mark.parametrize("scheduler", SERVED)
def test_image_to_image_is_the_pipelines(scheduler: str, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler=scheduler)
    start = Image.effect_mandelbrot((run.width, run.height), (-2, -1, 1, 1), 40).convert("RGB")
    pixels = Pixels(run.width, run.height, start.tobytes())
    request = replace(request_of(run, folder), start=StartImage(pixels, 0.65))
    check(models, request, lone.image_to_image(run, start, 0.65))


@pytest.mark.parametrize("scheduler", [name for name in SERVED if name not in TWO_EVALUATIONS])
def test_base_and_refiner_are_the_pipelines(scheduler: str, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler=scheduler)
    request = replace(request_of(run, folder), refinement=refiner(run, folder, 0.6))
    check(models, request, lone.base_and_refiner(run, 0.6))


@pytest.mark.parametrize("scheduler", TWO_EVALUATIONS)
def test_base_and_refiner_hand_over_at_a_steps_end(scheduler: str, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler=scheduler)
    request = replace(request_of(run, folder), refinement=refiner(run, folder, 0.6))
    check(models, request, lone.base_and_refiner_by_steps(run, 0.6))


@pytest.mark.parametrize("steps", [20, 36])
def test_restart_with_steps_enough_goes_back_up(steps: int, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler="Restart", steps=steps)
    check(models, request_of(run, folder), lone.text_to_image(run))
    request = replace(request_of(run, folder), refinement=refiner(run, folder, 0.6))
    check(models, request, lone.base_and_refiner(run, 0.6))


@pytest.mark.parametrize("scheduler", ["UniPC", "Heun", "Euler a", "DPM++ 2M SDE Karras"])
def test_a_refiner_at_fraction_0_redraws_the_finished_latents(scheduler: str, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler=scheduler)
    request = replace(request_of(run, folder), refinement=refiner(run, folder, 0, strength=0.5))
    check(models, request, lone.base_then_refiner(run, 0.5))


@pytest.mark.parametrize("guidance_scale", [0.1, 1.0, 25.0])
def test_guidance_is_the_pipelines(guidance_scale: float, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler="UniPC", guidance_scale=guidance_scale)
    check(models, request_of(run, folder), lone.text_to_image(run))


def test_an_absent_negative_prompt_is_zeros(folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler="DDIM", negative_prompt=None)
    check(models, request_of(run, folder), lone.text_to_image(run))


def test_a_mixed_batch_paints_what_each_request_gets_alone(
    folder: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "TRUSTED", 1)  # latents this small would not be trusted, nor measured, for long
    runs = [
        replace(RUN, scheduler=name, steps=5 + number % 4, guidance_scale=(7.0, 4.5, 1.0)[number % 3], seed=number)
        for number, name in enumerate(SERVED)
    ]
    loop = RecordingLoop(models)
    loop.paint(*(request_of(run, folder) for run in runs))
    assert not loop.failures()
    calls = sum(event.due for event in loop.events if getattr(event, "done", None) == 1)
    assert loop.ticks < calls / 3, "they did not share their calls"
    for run in runs:
        alone = RecordingLoop(models)
        alone.paint(request_of(run, folder))
        request_id = request_of(run, folder).id
        assert torch.equal(loop.latents[request_id], alone.latents[request_id])


@pytest.mark.parametrize("clip_skip", [1, 3])
def test_another_layer_of_the_encoders_is_the_same_as_in_diffusers(
    clip_skip: int, folder: Path, models: Models
) -> None:
    """Diffusers counts from SDXL's own, the last but one. It skips in the positive prompt only: here is no other."""
    run = replace(RUN, scheduler="UniPC", negative_prompt=None)
    request = request_of(run, folder)
    skipping = replace(request, checkpoint=replace(request.checkpoint, clip_skip=clip_skip))
    check(models, skipping, lone.text_to_image_skipping(run, clip_skip - 2))
    assert not torch.allclose(lone.text_to_image_skipping(run, clip_skip - 2), lone.text_to_image(run))


@pytest.mark.parametrize("scheduler", ["UniPC", "Euler a"])
def test_a_prompt_that_changes_changes_at_its_step(scheduler: str, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler=scheduler, prompt="a red boat")
    request = request_of(replace(run, prompt="a red [boat:house:3]"), folder)
    check(models, request, lone.text_to_image_with_change(run, "a red house", after=3))


def test_image_to_image_counts_a_prompts_steps_from_its_first(folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler="UniPC", prompt="a red boat")
    start = Image.effect_mandelbrot((run.width, run.height), (-2, -1, 1, 1), 40).convert("RGB")
    request = replace(
        request_of(replace(run, prompt="a red [boat:house:3]"), folder),
        start=StartImage(Pixels(run.width, run.height, start.tobytes()), 0.65),
    )
    check(models, request, lone.image_to_image_with_change(run, "a red house", 3, start, 0.65))


def test_prompts_of_unequal_length_are_padded_with_empty_chunks(folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler="UniPC", prompt="boat " * 100, negative_prompt="fog")
    request = request_of(run, folder)
    encoders = load_text_encoders(request.checkpoint.unet, torch.device("cpu"), torch.float32)
    positive, negative = request.prompt[0].chunks, request.negative_prompt[0].chunks
    assert (len(positive), len(negative)) == (2, 1)
    told = [
        end_to_end([encoders.encode(chunk, "base") for chunk in chunks])
        for chunks in (positive, (*negative, Chunk((), ())))
    ]
    check(models, request, lone.text_to_image_told(run, *told))
