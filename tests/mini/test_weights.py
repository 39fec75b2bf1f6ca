"""The files that ship: there, small, of the right form, and meaning something."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from torch.nn.functional import avg_pool2d

import gesso.mini
from gesso.mini.conditioning import Tokens
from gesso.mini.judging import look_at
from gesso.mini.looks import LOOKS
from gesso.mini.sampling import Studio
from gesso.sdxl.checkpoint import load_text_encoders, load_unet
from gesso.sdxl.weights import WeightsFile

FOLDER = Path(gesso.mini.__file__).parent / "weights"
NAMES = ("base", "refiner", *LOOKS)
CPU = torch.device("cpu")


def configuration(name: str) -> dict[str, object]:
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        described: dict[str, object] = json.loads(file.metadata()["gesso.config"])
    return described


def test_the_whole_family_is_there_in_at_most_sixty_four_megabytes() -> None:
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(NAMES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 64_000_000


@pytest.mark.parametrize("name", NAMES)
def test_every_file_says_what_it_is(name: str) -> None:
    described = configuration(name)
    assert described["kind"] == ("refiner" if name == "refiner" else "base")
    assert described["prediction_type"] == "v_prediction"
    assert (described["vae"] is not None) == (name == "base")


@pytest.mark.parametrize("name", NAMES)
def test_every_unet_loads_and_is_finite(name: str) -> None:
    unet = load_unet(str(FOLDER / f"{name}.safetensors"), CPU, torch.float32)
    assert all(weight.isfinite().all() for weight in unet.network.parameters())


def test_no_two_files_hold_the_same_weights() -> None:
    assert len({(FOLDER / f"{name}.safetensors").read_bytes() for name in NAMES}) == len(NAMES)


def studio() -> Studio:
    path = str(FOLDER / "base.safetensors")
    encoders = load_text_encoders(path, CPU, torch.float32)
    assert encoders.first is not None
    file = WeightsFile(path)
    unet = UNet2DConditionModel.from_config(dict(file.architecture.unet))
    file.fill_unet(unet, torch.float32)
    vae = AutoencoderKL.from_config(dict(file.architecture.vae or {}))
    file.fill_vae(vae, torch.float32)
    return Studio(Tokens(), (encoders.first, encoders.second), unet.eval(), vae.eval())


def colours_of(texts: Sequence[str], size: tuple[int, int]) -> list[tuple[str, str]]:
    seen = [look_at(avg_pool2d(picture, 4)) for picture in studio().pictures(texts, size, seed=1)]
    return [(one.colour, one.ground) for one in seen]


def test_the_base_paints_the_colours_that_it_is_asked_for() -> None:
    texts = ("a red circle on a blue background", "a yellow square on a black background")
    assert colours_of(texts, (512, 512)) == [("red", "blue"), ("yellow", "black")]


def test_the_base_paints_portraits_and_passes_over_words_that_it_does_not_know() -> None:
    text = "cinematic photo of a red heart on a white background, masterpiece, highly detailed, 8k"
    assert colours_of((text,), (896, 1152)) == [("red", "white")]
