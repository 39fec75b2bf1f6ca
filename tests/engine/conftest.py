"""Checkpoints that the engine's tests share."""

from pathlib import Path

import pytest

from tests.tiny import write_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny base and a tiny refiner."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_tiny(folder / "base.safetensors", "base", seed=0)
    write_tiny(folder / "refiner.safetensors", "refiner", seed=1)
    return folder
