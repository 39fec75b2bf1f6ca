"""The README's code blocks run as they stand: only address, key and the place of `gesso` are this test's own."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from gesso.settings import Settings
from tests.serving import PATIENCE, Installation, Server, install

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(tmp_path_factory.mktemp("readme"))


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Server]:
    with installation.serving() as server:
        yield server


def run(code: str, command: list[str], installation: Installation, server: Server) -> str:
    gesso = f"{sys.executable} -m gesso"
    code = code.replace("http://127.0.0.1:8000", server.url).replace("SG_...", server.key)
    done = subprocess.run(
        [*command, code.replace(".venv/bin/gesso", gesso)],
        cwd=installation.folder,
        env={**installation.environment, "KEY": server.key, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_shells_blocks_run(installation: Installation, server: Server) -> None:
    said = [run(block, ["bash", "-euo", "pipefail", "-c"], installation, server) for block in blocks("sh")]
    assert len(said) >= 5
    for name in ("heart.png", "triangle.png"):
        with Image.open(installation.folder / name) as picture:
            assert picture.size == (512, 512)
    assert any("20 steps" in one or "steps 11 to 20" in one for one in said)
    assert any(re.search(r"studio\s+15\.0", one) for one in said)


def test_the_pythons_blocks_run(installation: Installation, server: Server) -> None:
    (block,) = blocks("python")
    assert run(block, [sys.executable, "-W", "ignore", "-c"], installation, server).startswith(server.url)


def test_the_catalogues_example_is_read(tmp_path: Path) -> None:
    (block,) = blocks("toml")
    assert tomllib.loads(block)["bindings"]
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(block)
    listed = install(tmp_path, catalogue_file=str(catalogue)).run("models", "list").stdout
    assert re.search(r"mine .* sdxl1\.0-realvis", listed)


def test_the_commands_for_make_are_targets() -> None:
    named = re.findall(r"make (\w+)", README)
    assert {"serve", "test", "bench"} <= set(named)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(named) <= set(targets)


def test_every_picture_and_page_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_setting_is_told() -> None:
    table = README.split("## Settings")[1].split("## ")[0]
    assert {name for name in Settings.model_fields if f"`{name}`" not in table} == set()
