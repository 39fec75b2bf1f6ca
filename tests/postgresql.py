"""A PostgreSQL server of the tests' own, on a free port, in a folder of its own."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

PATIENCE = 60
NOBODY = "nobody"
"""Who runs the server where root runs the tests: PostgreSQL does not run as root."""


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps out of the way."""
    found = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return Path(found).resolve().parent if found else installed[-1] if installed else None


@dataclass(slots=True)
class Postgresql:
    """One that runs until `stop`, and again from `start` on."""

    programs: Path
    folder: Path
    port: int
    options: tuple[str, ...] = ()

    def start(self) -> None:
        """Returns when it takes connections."""
        said = " ".join([f"-p {self.port}", "-c listen_addresses=127.0.0.1", f"-k {self.folder}", *self.options])
        self._run("pg_ctl", "--pgdata", self.data, "--wait", "--log", str(self.folder / "log"), "-o", said, "start")

    def stop(self, how: str = "fast") -> None:
        """`fast` ends connections, `immediate` is a crash."""
        self._run("pg_ctl", "--pgdata", self.data, "--wait", "--mode", how, "stop")

    def url(self, name: str) -> str:
        """Of one of its databases."""
        return f"postgresql://gesso@127.0.0.1:{self.port}/{name}"

    def create(self, name: str, template: str = "template0") -> str:
        """The URL of a new database, which is like the other."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        """Whoever uses it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @property
    def data(self) -> str:
        """Its folder of data."""
        return str(self.folder / "data")

    def initialise(self) -> None:
        """Make the folder of data."""
        self._run("initdb", "--pgdata", self.data, "--username", "gesso", "--auth", "trust", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        user = NOBODY if os.getuid() == 0 else None
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            user=user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would be inherited by the server, and never end
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        log = self.folder / "log"
        assert done.returncode == 0, done.stderr or (log.read_text() if log.exists() else f"{program} failed")


@contextmanager
def postgresql(*options: str) -> Iterator[Postgresql]:
    """A running server. Skips the test where PostgreSQL is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed here (Debian's package is called postgresql)")
    # A short path, as a socket's has at most 107 characters, and one that everybody may walk.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        if os.getuid() == 0:
            shutil.chown(folder, NOBODY)
        server = Postgresql(programs, folder, _free_port(), options)
        server.initialise()
        server.start()
        stack.callback(server.stop, "immediate")
        yield server


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
