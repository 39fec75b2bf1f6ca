"""The files that ship: there, small, of the right form, and meaning something."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import gesso.mini
from gesso.mini.judging.examination import as_picture
from gesso.mini.judging.things import look_at
from gesso.mini.world.looks import LOOKS
from gesso.sdxl.checkpoint import load_unet
from tests.serving import install

FOLDER = Path(gesso.mini.__file__).parent / "weights"
NAMES = ("base", "refiner", *LOOKS)
CPU = torch.device("cpu")


def configuration(name: str) -> dict[str, object]:
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        described: dict[str, object] = json.loads(file.metadata()["gesso.config"])
    return described


def test_the_whole_family_is_there_in_at_most_sixty_megabytes() -> None:
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(NAMES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 60_000_000


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


@pytest.mark.parametrize(
    ("text", "size", "colours"),
    [
        ("a red circle on a blue background", (512, 512), ("red", "blue")),
        ("a green square on a black background", (512, 512), ("green", "black")),
        (
            "cinematic photo of a red heart on a white background, masterpiece, highly detailed, 8k",
            (896, 1152),
            ("red", "white"),
        ),
    ],
)
def test_the_base_paints_the_colours_that_it_is_asked_for_and_passes_over_words_that_it_does_not_know(
    text: str, size: tuple[int, int], colours: tuple[str, str], tmp_path: Path
) -> None:
    width, height = map(str, size)
    file = tmp_path / "picture.png"
    install(tmp_path).run("generate", text, "--width", width, "--height", height, "--seed", "1", "--out", str(file))
    seen = look_at(as_picture(file.read_bytes()))
    assert (seen.colour, seen.ground) == colours
