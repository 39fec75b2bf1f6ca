"""LoRAs change the pictures of the requests that name them, and of no other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gesso.engine.messages import LoraFile, Paint, Pixels
from gesso.engine.models import Models
from gesso.sdxl.checkpoint import load_unet
from gesso.sdxl.lora import StrongLora, open_lora
from gesso.sdxl.writing import write_weights
from tests.engine.recording import RecordingLoop, small_request
from tests.tiny import architecture, write_tiny, write_tiny_lora

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_tiny(folder / "base.safetensors")
    for seed, name in enumerate(("ink", "clay")):
        write_tiny_lora(folder / f"{name}.safetensors", seed)
    return folder


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(CPU, torch.float32)


def with_loras(request: Paint, folder: Path, *loras: tuple[str, float, float]) -> Paint:
    files = tuple(LoraFile(name, str(folder / f"{name}.safetensors"), unet, text) for name, unet, text in loras)
    return replace(request, checkpoint=replace(request.checkpoint, loras=files))


def painted(models: Models, *requests: Paint) -> list[Pixels]:
    loop = RecordingLoop(models)
    loop.paint(*requests)
    assert not loop.failures()
    pictures = loop.pictures()
    return [pictures[request.id, 0] for request in requests]


def variants(folder: Path) -> Sequence[Paint]:
    """Of the same seed and words."""
    sets: list[list[tuple[str, float, float]]] = [
        [],
        [("ink", 1.0, 1.0)],
        [("ink", 0.5, 0.5)],
        [("ink", 1.0, 0.0)],
        [("ink", 0.0, 1.0)],
        [("clay", 1.0, 1.0)],
        [("clay", 1.0, 1.0), ("ink", 1.0, 1.0)],
    ]
    return [
        replace(with_loras(small_request(folder), folder, *loras), id=str(number)) for number, loras in enumerate(sets)
    ]


def test_every_set_paints_as_it_does_alone_and_no_two_alike(folder: Path, models: Models) -> None:
    requests = variants(folder)
    together = painted(models, *requests)
    assert together == [painted(Models(CPU, torch.float32), request)[0] for request in requests]
    assert len({picture.rgb for picture in together}) == len(requests)


def test_at_strength_0_nothing_changes(folder: Path, models: Models) -> None:
    plain = small_request(folder)
    assert painted(models, with_loras(plain, folder, ("ink", 0.0, 0.0))) == painted(models, plain)


def test_a_lora_paints_as_a_checkpoint_that_it_was_merged_into(folder: Path, models: Models, tmp_path: Path) -> None:
    base = str(folder / "base.safetensors")
    ink = StrongLora(open_lora(str(folder / "ink.safetensors")), 0.7)
    merged = tmp_path / "merged.safetensors"
    unet = load_unet(base, CPU, torch.float32, [ink]).network
    write_weights(
        merged,
        replace(architecture(), vae=None, text_encoder=None, text_encoder_2=None),
        unet=unet,
        dtype=torch.float32,
    )
    request = small_request(folder)
    files = replace(request.checkpoint, unet=str(merged), text_encoders=base, vae=base)
    by_name = painted(models, with_loras(request, folder, ("ink", 0.7, 0.0)))
    assert painted(models, replace(request, checkpoint=files)) == by_name


def test_a_file_that_does_not_fit_ends_its_own_request_only(folder: Path, models: Models, tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").write_bytes((folder / "base.safetensors").read_bytes())
    loop = RecordingLoop(models)
    loop.paint(with_loras(small_request(folder, 1), tmp_path, ("ink", 1.0, 1.0)), small_request(folder, 2))
    (failure,) = loop.failures()
    assert (failure.id, failure.reason) == ("1", "unavailable")
    assert "ink.safetensors" in failure.sentence
    assert list(loop.pictures()) == [("2", 0)]
