"""Which words every evaluation of the model is told: prompts count a request's steps, not the evaluations.

A step of a two-evaluation sampler has one meaning for both (its last step takes one evaluation only), PNDM's first step
is evaluated twice. Image-to-image counts the steps that are really taken; base and refiner count on together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from gesso.engine.flight import InFlight
from gesso.engine.messages import CheckpointFiles, Paint, Pixels, Refinement, StartImage
from gesso.engine.models import Models
from gesso.prompt.understanding import understand
from gesso.sdxl.architecture import Kind
from gesso.sdxl.checkpoint import load_text_encoders
from gesso.sdxl.text import TextEncoders
from tests.engine.recording import RecordingLoop
from tests.tiny import write_tiny

STEPS = 10
SCHEDULERS = ["Euler", "Heun", "DPM2 a", "DPM++ SDE", "PNDM"]
WORDS = [f"{first} {second}" for first in ("red", "blue", "old", "wet") for second in ("boat", "hill", "door", "tree")]


class ListeningLoop(RecordingLoop):
    """Keeps what each evaluation was told, positive and negative: [tokens, width] each."""

    def __init__(self, models: Models) -> None:
        super().__init__(models)
        self.told: list[tuple[Tensor, Tensor]] = []

    def _denoise(self, images: Sequence[InFlight]) -> None:
        (image,) = images
        rows = image.leg.conditional, image.leg.unconditional
        positive, negative = (told[image.evaluation].context for told in rows)
        self.told.append((positive, negative))
        super()._denoise(images)


@cache
def encoders_in(path: str) -> TextEncoders:
    return load_text_encoders(path, torch.device("cpu"), torch.float32)


@cache
def said(path: str, kind: Kind, word: str) -> Tensor:
    ((chunk,),) = (stretch.chunks for stretch in understand(word, 1).schedule)
    return encoders_in(path).encode(chunk, kind).context


@dataclass(frozen=True)
class Studio:
    """Tiny checkpoints, and what each of their encoders makes of the words of these tests."""

    folder: Path
    models: Models

    def files(self, kind: Kind) -> CheckpointFiles:
        return CheckpointFiles(kind, str(self.folder / f"{kind}.safetensors"))

    def heard(self, request: Paint) -> list[tuple[int, int]]:
        """The step, from 1, whose positive and whose negative words each evaluation was told."""
        loop = ListeningLoop(self.models)
        loop.paint(request)
        assert not loop.failures()
        return [(self._step(positive), self._step(negative)) for positive, negative in loop.told]

    def _step(self, context: Tensor) -> int:
        """Both encoders' words are of different widths, so the refiner's are not taken for the base's."""
        (step,) = (
            step
            for step, word in enumerate(WORDS, 1)
            for kind in ("base", "refiner")
            if torch.equal(context, self._said(kind, word))
        )
        return step

    def _said(self, kind: Kind, word: str) -> Tensor:
        return said(self.files(kind).unet, kind, word)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_tiny(folder / "base.safetensors", "base", seed=0)
    write_tiny(folder / "refiner.safetensors", "refiner", seed=1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Studio(folder, Models(torch.device("cpu"), torch.float32))
    torch.set_num_threads(before)


def request_of(studio: Studio, scheduler: str, steps_taken: int) -> Paint:
    """Prompts with other words at each of the steps that they count."""
    alternation = f"[{'|'.join(WORDS[:steps_taken])}]"
    return Paint(
        id=scheduler,
        checkpoint=studio.files("base"),
        prompt=understand(alternation, steps_taken).schedule,
        negative_prompt=understand(alternation, steps_taken).schedule,
        scheduler=scheduler,
        steps=STEPS,
        guidance_scale=5.0,
        width=64,
        height=64,
        seeds=(7,),
    )


def steps_of_evaluations(scheduler: str, steps: int) -> list[int]:
    """Of a run of so many steps, from 1."""
    counted = range(1, steps + 1)
    if scheduler == "Euler":
        return [*counted]
    return [1, *counted] if scheduler == "PNDM" else [step for step in counted for _ in range(2)][:-1]


def both(steps: list[int]) -> list[tuple[int, int]]:
    return [(step, step) for step in steps]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_text_to_image_counts_its_steps(scheduler: str, studio: Studio) -> None:
    expected = steps_of_evaluations(scheduler, STEPS)
    assert studio.heard(request_of(studio, scheduler, STEPS)) == both(expected)


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_image_to_image_counts_the_steps_really_taken(scheduler: str, strength: float, studio: Studio) -> None:
    taken = int(STEPS * strength)
    start = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 40).convert("RGB").tobytes()
    request = replace(request_of(studio, scheduler, taken), start=StartImage(Pixels(64, 64, start), strength))
    assert studio.heard(request) == both(steps_of_evaluations(scheduler, taken))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_base_and_refiner_share_one_count(scheduler: str, studio: Studio) -> None:
    request = request_of(studio, scheduler, STEPS)
    refined = replace(request, refinement=Refinement(studio.files("refiner"), 0.8, 0.2))
    assert studio.heard(refined) == both(steps_of_evaluations(scheduler, STEPS))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_refiner_that_redraws_counts_on_from_the_whole_base_run(scheduler: str, studio: Studio) -> None:
    request = request_of(studio, scheduler, STEPS + 5)
    redrawn = replace(request, refinement=Refinement(studio.files("refiner"), 0, 0.5))
    later = [STEPS + step for step in steps_of_evaluations(scheduler, 5)]
    assert studio.heard(redrawn) == both(steps_of_evaluations(scheduler, STEPS) + later)


def test_prompt_and_negative_prompt_change_each_at_its_own_steps(studio: Studio) -> None:
    request = replace(
        request_of(studio, "Heun", STEPS),
        prompt=understand(f"[{WORDS[0]}:{WORDS[1]}:0.5]", STEPS).schedule,
        negative_prompt=understand(f"[{'|'.join(WORDS[2:5])}]", STEPS).schedule,
    )
    steps = steps_of_evaluations("Heun", STEPS)
    expected = [(1 if step <= 5 else 2, 3 + (step - 1) % 3) for step in steps]
    assert studio.heard(request) == expected
