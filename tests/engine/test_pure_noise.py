"""Checkpoints that were trained to pure noise paint what a lone diffusers pipeline paints of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from gesso.diffusion.names import SERVED
from gesso.engine.messages import CheckpointFiles, Paint, Pixels, Refinement, StartImage
from gesso.engine.models import Models
from gesso.prompt.understanding import understand
from gesso.sdxl.architecture import Kind
from gesso.sdxl.writing import write_weights
from tests.engine import lone
from tests.engine.lone import LoneRun
from tests.engine.recording import RecordingLoop
from tests.tiny import architecture, build_parts

# torchsde, where diffusers asks its Brownian motion for a sigma a rounding error outside of its range.
pytestmark = pytest.mark.filterwarnings("ignore:Should have t:UserWarning")

RUN = LoneRun(
    "Euler",
    steps=20,
    seed=5,
    prompt="a red boat",
    negative_prompt="fog",
    guidance_scale=5.0,
    prediction_type="v_prediction",
    zero_terminal_snr=True,
)
# Of these, diffusers' own loop in float32 keeps three digits only.
ROUGH = ("Heun", "DPM2", "DPM2 a")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    kinds: tuple[tuple[Kind, int], ...] = (("base", 0), ("refiner", 1))
    for kind, seed in kinds:
        for zero_terminal_snr in (False, True):
            shape = replace(architecture(kind, "v_prediction"), zero_terminal_snr=zero_terminal_snr)
            path = folder / f"{kind}-{zero_terminal_snr}.safetensors"
            write_weights(path, shape, **build_parts(shape, seed), dtype=torch.float32)
    return folder


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(torch.device("cpu"), torch.float32)


def files(folder: Path, kind: Kind, zero_terminal_snr: bool = True) -> CheckpointFiles:
    name = f"{kind}-{zero_terminal_snr}"
    return CheckpointFiles(name, str(folder / f"{name}.safetensors"))


def request_of(run: LoneRun, folder: Path) -> Paint:
    return Paint(
        id=run.scheduler,
        checkpoint=files(folder, "base"),
        prompt=understand(run.prompt, run.steps).schedule,
        negative_prompt=understand(run.negative_prompt or "", run.steps).schedule,
        scheduler=run.scheduler,
        steps=run.steps,
        guidance_scale=run.guidance_scale,
        width=run.width,
        height=run.height,
        seeds=(run.seed,),
    )


def deviation(models: Models, request: Paint, expected: torch.Tensor) -> float:
    loop = RecordingLoop(models)
    loop.paint(request)
    assert not loop.failures()
    return float((loop.latents[request.id] - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("scheduler", SERVED)
def test_text_to_image_is_the_pipelines(scheduler: str, folder: Path, models: Models) -> None:
    run = replace(RUN, scheduler=scheduler)
    apart = deviation(models, request_of(run, folder), lone.text_to_image(run))
    assert apart <= (1e-3 if scheduler in ROUGH else 1e-4)


def test_image_to_image_is_the_pipelines(folder: Path, models: Models) -> None:
    start = Image.effect_mandelbrot((RUN.width, RUN.height), (-2, -1, 1, 1), 40).convert("RGB")
    request = replace(request_of(RUN, folder), start=StartImage(Pixels(RUN.width, RUN.height, start.tobytes()), 0.65))
    assert deviation(models, request, lone.image_to_image(RUN, start, 0.65)) <= 1e-4


def test_base_and_refiner_are_the_pipelines(folder: Path, models: Models) -> None:
    request = replace(request_of(RUN, folder), refinement=Refinement(files(folder, "refiner"), 0.8, 0.5))
    assert deviation(models, request, lone.base_and_refiner(RUN, 0.8)) <= 1e-4


def test_a_refiner_of_another_noise_schedule_cannot_take_over(folder: Path, models: Models) -> None:
    loop = RecordingLoop(models)
    refinement = Refinement(files(folder, "refiner", zero_terminal_snr=False), 0.8, 0.5)
    loop.paint(replace(request_of(RUN, folder), refinement=refinement))
    (failure,) = loop.failures()
    assert "'refiner-False' cannot take over from 'base-True'" in failure.sentence
    assert "ask for a high-noise fraction of 0 or 1" in failure.sentence


def test_a_refiner_of_another_noise_schedule_redraws_what_is_finished(folder: Path, models: Models) -> None:
    loop = RecordingLoop(models)
    refinement = Refinement(files(folder, "refiner", zero_terminal_snr=False), 0, 0.5)
    loop.paint(replace(request_of(RUN, folder), refinement=refinement))
    assert not loop.failures()
    assert len(loop.pictures()) == 1


def test_steps_that_cannot_be_spaced_fail_with_a_sentence(folder: Path, models: Models) -> None:
    loop = RecordingLoop(models)
    loop.paint(request_of(replace(RUN, steps=61), folder))
    (failure,) = loop.failures()
    assert "61 steps cannot be spaced evenly" in failure.sentence
