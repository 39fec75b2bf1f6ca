"""A whole server that is killed at random moments under load; the benchmark does the same a hundred times."""

import subprocess
import sys

import pytest

from tests.postgresql import postgresql

KILLS = "5"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_after_kills_at_random_moments_nothing_is_lost_and_nothing_charged_twice(database: str) -> None:
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", KILLS, "--seed", "5"]
    if database == "sqlite":
        said = _run(command)
    else:
        with postgresql() as server:
            said = _run([*command, "--database", server.create("killed")])
    assert " no" not in said


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
