"""The whole program as its users run it: `gesso` in processes of its own, with a data folder of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from gesso.catalogue.catalogue import load_catalogue
from tests.tiny import write_tiny

PATIENCE = 120


@dataclass(frozen=True)
class Installation:
    """A data folder and the environment that names it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """A finished command, which must end with `status`."""
        done = subprocess.run(
            [sys.executable, "-m", "gesso", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done

    @contextmanager
    def serving(self, *arguments: str, program: tuple[str, ...] = ("-m", "gesso")) -> Iterator["Server"]:
        """A running server on a free port."""
        log = self.folder / "server.log"
        with log.open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, *program, "serve", "--port", "0", *arguments],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                yield Server(process, log)
            finally:
                was_running = process.poll() is None
                process.terminate()
                status = process.wait(PATIENCE)
                assert process.stdout is not None
                process.stdout.close()
            if was_running:  # it was asked to go, and left its house in order
                assert status == 0, log.read_text()
                assert not list((self.folder / "servers").iterdir())


class Server:
    """A server that has said where it is."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r"http://\S+", first)
        assert found, f"{first!r}; {log.read_text()}"
        self.url = found[0]
        self.said = process.stdout.readline()

    @property
    def key(self) -> str:
        """The owner's key, printed at the first start only."""
        return self.said.removeprefix("API key: ").strip()

    def client(self, key: str) -> httpx2.Client:
        """A client with a key."""
        return httpx2.Client(base_url=self.url, headers={"x-api-key": key}, timeout=PATIENCE)


def install(folder: Path, **settings: str) -> Installation:
    """An installation in `folder`, which knows nothing of the machine's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GESSO_")}
    named = {f"GESSO_{name.upper()}": value for name, value in settings.items()}
    return Installation(folder, {**kept, "GESSO_DATA_DIR": str(folder), **named})


def install_tiny(folder: Path) -> Installation:
    """An installation whose every endpoint paints with random checkpoints of next to no size."""
    models = folder / "models"
    models.mkdir()
    write_tiny(models / "base.safetensors", "base", seed=0)
    write_tiny(models / "refiner.safetensors", "refiner", seed=1)
    lines = ["[bindings]"]
    for slug, endpoint in load_catalogue().endpoints.items():
        for role in endpoint.checkpoints:
            binding = slug if role == "base" else f"{slug}/{role}"
            lines.append(f'"{binding}" = "tiny-{"refiner" if role == "refiner" else "base"}"')
    for kind in ("base", "refiner"):
        lines += ["[[checkpoint]]", f'id = "tiny-{kind}"', f'title = "Tiny {kind}"', f'kind = "{kind}"']
        lines += ['family = "sdxl"', f'file = "{kind}.safetensors"']
    catalogue = folder / "catalogue.toml"
    catalogue.write_text("\n".join(lines))
    return install(folder, catalogue_file=str(catalogue))
