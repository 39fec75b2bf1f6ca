"""Previews of unfinished images: who gets them, when, what they show, and that they change no picture."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor
from torch.nn.functional import avg_pool2d

import gesso.mini
from gesso.diffusion.denoised import estimate
from gesso.diffusion.schedulers import Diffusion
from gesso.diffusion.solver_table import compile_table
from gesso.diffusion.span import WholeRun
from gesso.engine.messages import CheckpointFiles, Event, Painted, Pixels, Preview, Progress, Refinement
from gesso.engine.models import Models
from gesso.engine.previews import EVERY, PAUSE, Previews
from gesso.sdxl.colours import Colours
from gesso.sdxl.unet import Told, Unet
from gesso.sdxl.vae import Vae
from tests.engine.recording import RecordingLoop, small_request

EMBEDDED = Path(gesso.mini.__file__).parent / "weights"


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(torch.device("cpu"), torch.float32)


def loop_with_previews(models: Models, seconds_a_tick: float) -> RecordingLoop:
    """A loop whose previews are told that every tick took so long."""
    loop = RecordingLoop(models)
    loop._previews = Previews(models.device, itertools.count(0.0, seconds_a_tick).__next__)
    return loop


@pytest.fixture
def loop(models: Models) -> RecordingLoop:
    return loop_with_previews(models, 2 * PAUSE)


def previews(events: list[Event]) -> list[Preview]:
    return [event for event in events if isinstance(event, Preview)]


def test_only_who_asks_gets_previews(loop: RecordingLoop, folder: Path) -> None:
    asking = replace(small_request(folder, 1, steps=10), previews=True, seeds=(1, 2))
    loop.paint(asking, small_request(folder, 2, steps=10))
    assert {(preview.id, preview.image) for preview in previews(loop.events)} == {("1", 0), ("1", 1)}


def test_pictures_are_the_same_bytes_with_previews_or_without(models: Models, folder: Path) -> None:
    plain = [small_request(folder, number, steps=8) for number in range(3)]
    plain[1] = replace(plain[1], refinement=refinement(folder), scheduler="DPM++ SDE")
    with_previews, without = loop_with_previews(models, 2 * PAUSE), RecordingLoop(models)
    with_previews.paint(*(replace(request, previews=True) for request in plain))
    without.paint(*plain)
    assert len(previews(with_previews.events)) >= 6
    assert not previews(without.events)
    assert with_previews.pictures() == without.pictures()


def refinement(folder: Path) -> Refinement:
    return Refinement(CheckpointFiles("refiner", str(folder / "refiner.safetensors")), 0.5, 0.2)


class Onlooker:
    """Stands in for a VAE's colours, and for nothing else: keeps the latents that are shown, and what the UNet had just
    seen and said of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []
        predict = Unet.predict

        def overheard(unet: Unet, rows: Tensor, told: Sequence[Told]) -> Tensor:
            predictions = predict(unet, rows, told)
            self.row, self.prediction = rows[0].clone(), predictions[0].clone()
            return predictions

        monkeypatch.setattr(Unet, "predict", overheard)

    def preview(self, latent: Tensor) -> Tensor:
        """A black pixel."""
        self.shown.append((latent.clone(), self.row, self.prediction))
        return torch.zeros(1, 1, 3, dtype=torch.uint8)


@pytest.mark.parametrize("with_refiner", [False, True], ids=["base", "base and refiner"])
@pytest.mark.parametrize("scheduler", ["Euler", "UniPC", "LMS"])
def test_what_is_shown_is_the_clean_latent_that_the_model_saw(
    scheduler: str, with_refiner: bool, models: Models, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, onlooker = loop_with_previews(models, 2 * PAUSE), Onlooker(monkeypatch)
    loop._previews._colours[str(folder / "base.safetensors")] = cast(Colours, onlooker)
    request = replace(small_request(folder, steps=8), scheduler=scheduler, guidance_scale=1.0, previews=True)
    loop.paint(replace(request, refinement=refinement(folder)) if with_refiner else request)
    evaluations = [preview.done for preview in previews(loop.events)]
    assert evaluations == ([2, 6] if with_refiner else [2, 4, 6]), "a model that has not begun has seen nothing"
    timesteps = compile_table(scheduler, 8, WholeRun(), Diffusion("epsilon")).timesteps[[k - 1 for k in evaluations]]
    for timestep, (shown, row, prediction) in zip(timesteps, onlooker.shown, strict=True):
        clean = estimate(row, prediction, timestep, Diffusion("epsilon"))
        torch.testing.assert_close(shown, clean, rtol=1e-5, atol=1e-5)


def test_previews_are_spaced_and_none_is_of_the_last_evaluation(loop: RecordingLoop, folder: Path) -> None:
    loop.paint(replace(small_request(folder, steps=3 * EVERY), previews=True))
    assert [preview.done for preview in previews(loop.events)] == [EVERY, 2 * EVERY]
    for preview in previews(loop.events):
        assert (preview.pixels.width, preview.pixels.height, len(preview.pixels.rgb)) == (4, 4, 48)


def test_a_fast_engine_shows_an_image_no_more_often_than_it_can_be_looked_at(models: Models, folder: Path) -> None:
    loop = loop_with_previews(models, PAUSE / 7)
    loop.paint(replace(small_request(folder, steps=20), previews=True))
    shown = [preview.done for preview in previews(loop.events)]
    assert shown == [2, 10, 18]


def test_previews_come_before_their_picture_and_after_their_progress(loop: RecordingLoop, folder: Path) -> None:
    loop.paint(replace(small_request(folder, steps=10), previews=True))
    kinds = [type(event) for event in loop.events]
    assert kinds.index(Painted) > max(place for place, kind in enumerate(kinds) if kind is Preview)
    for place, event in enumerate(loop.events):
        if isinstance(event, Preview):
            assert Progress(event.id, event.image, event.done, 10) in loop.events[:place]


def test_what_is_cancelled_is_shown_no_more(loop: RecordingLoop, folder: Path) -> None:
    loop.submit(replace(small_request(folder, 1, steps=20), previews=True))
    while not any(isinstance(event, Progress) and event.done == EVERY for event in loop.events):
        loop.turn()
    loop.cancel("1")
    told = len(loop.events)
    loop.paint(small_request(folder, 2))
    assert all(event.id == "2" for event in loop.events[told:])


def test_a_preview_that_fails_costs_nobody_the_picture(
    loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(vae: Vae, rgb: bytes, width: int, height: int) -> None:
        raise RuntimeError("a VAE that encodes nothing")

    monkeypatch.setattr(Vae, "encode", broken)
    with capture_logs() as logs:
        loop.paint(replace(small_request(folder, steps=6), previews=True))
    assert [entry["event"] for entry in logs] == ["preview failed"] * 2
    assert not previews(loop.events)
    assert len(loop.pictures()) == 1


@pytest.mark.parametrize("scheduler", ["Euler", "UniPC", "DPM2 Karras", "DPM++ SDE"])
def test_early_on_a_preview_already_looks_like_the_picture(scheduler: str) -> None:
    embedded = Models(torch.device("cpu"), torch.float32)
    loop = loop_with_previews(embedded, 2 * PAUSE)
    asked = small_request(EMBEDDED, 3, "a large red heart on a blue background", steps=12)
    loop.paint(replace(asked, scheduler=scheduler, width=512, height=512, previews=True))
    shown, picture = previews(loop.events), loop.pictures()["3", 0]
    middle, last = shown[len(shown) // 2], shown[-1]
    assert likeness(middle.pixels, picture) > 0.9
    assert likeness(last.pixels, picture) > 0.95
    assert likeness(last.pixels, picture) > likeness(shown[0].pixels, picture)


def likeness(small: Pixels, picture: Pixels) -> float:
    """The correlation of two pictures' colours, of which one is smaller."""
    rgb = [
        torch.frombuffer(bytearray(one.rgb), dtype=torch.uint8).view(one.height, one.width, 3).permute(2, 0, 1) / 255
        for one in (small, picture)
    ]
    rgb[1] = avg_pool2d(rgb[1], picture.width // small.width)
    return float(torch.corrcoef(torch.stack([one.flatten() for one in rgb]))[0, 1])
