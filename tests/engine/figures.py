"""How close the whole engine comes to lone pipelines, scheduler by scheduler: the last table of docs/schedulers.md.

`python -m tests.engine.figures [NAME...]` paints each scheduler's 88 runs in one batch and each of them by a pipeline:
20, 25, 50 and 100 steps; epsilon and v; text-to-image, five strengths of image-to-image, five fractions of the refiner.
It takes about three quarters of an hour on one core.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gesso.diffusion.names import SERVED
from gesso.engine.messages import Paint, Pixels, StartImage
from gesso.engine.models import Models
from tests.engine import lone
from tests.engine.lone import LoneRun
from tests.engine.recording import RecordingLoop
from tests.engine.test_parity import PREDICTION_TYPES, RUN, TWO_EVALUATIONS, refiner, request_of, write_checkpoints

STEPS = (20, 25, 50, 100)
STRENGTHS = (0.1, 0.3, 0.5, 0.65, 1.0)
FRACTIONS = (0.2, 0.4, 0.6, 0.8, 0.95)
COLUMNS = ["scheduler", "text-to-image", "image-to-image", "base and refiner", "pixels within 1/255"]
START = Image.effect_mandelbrot((RUN.width, RUN.height), (-2, -1, 1, 1), 40).convert("RGB")

Case = tuple[str, Paint, LoneRun, float]
"""The column, what the engine is asked for, what the pipeline is, and the strength or fraction."""


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    models = Models(torch.device("cpu"), torch.float32)
    print(_line(COLUMNS))
    print(_line(["---"] * len(COLUMNS)))
    with tempfile.TemporaryDirectory() as name:
        folder = write_checkpoints(Path(name))
        for scheduler in names or sorted(SERVED):
            print(_line([scheduler, *_figures(models, list(_cases(scheduler, folder)))]), flush=True)


def _cases(scheduler: str, folder: Path) -> Iterator[Case]:
    for steps in STEPS:
        for prediction_type in PREDICTION_TYPES:
            run = replace(RUN, scheduler=scheduler, steps=steps, prediction_type=prediction_type)
            request = replace(request_of(run, folder), id=f"{steps} {prediction_type}")
            yield COLUMNS[1], request, run, 1.0
            for strength in STRENGTHS:
                start = StartImage(Pixels(run.width, run.height, START.tobytes()), strength)
                yield COLUMNS[2], replace(request, id=f"{request.id} from {strength}", start=start), run, strength
            for fraction in FRACTIONS:
                refinement = refiner(run, folder, fraction)
                handed = replace(request, id=f"{request.id} until {fraction}", refinement=refinement)
                yield COLUMNS[3], handed, run, fraction


def _figures(models: Models, cases: list[Case]) -> list[str]:
    loop = RecordingLoop(models)
    loop.paint(*(request for _, request, _, _ in cases))
    assert not loop.failures(), loop.failures()
    worst = dict.fromkeys(COLUMNS[1:4], 0.0)
    close = 1.0
    for kind, request, run, part in cases:
        expected = _expected(kind, run, part)
        apart = (loop.latents[request.id] - expected).abs().max() / expected.abs().max()
        worst[kind] = max(worst[kind], float(apart))
        close = min(close, _close(loop.pictures()[request.id, 0], expected))
    return [*(f"{figure:.0e}" for figure in worst.values()), f"{close:.2%}"]


def _expected(kind: str, run: LoneRun, part: float) -> Tensor:
    if kind == COLUMNS[1]:
        return lone.text_to_image(run)
    if kind == COLUMNS[2]:
        return lone.image_to_image(run, START, part)
    handed_over = lone.base_and_refiner_by_steps if run.scheduler in TWO_EVALUATIONS else lone.base_and_refiner
    return handed_over(run, part)


def _close(painted: Pixels, expected: Tensor) -> float:
    """The share of the pixels' numbers that are at most 1 of 255 apart."""
    picture = np.frombuffer(painted.rgb, np.uint8).reshape(painted.height, painted.width, 3)
    return float((np.abs(picture.astype(int) - lone.decode(expected).astype(int)) <= 1).mean())


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
