"""Benchmarks run, and say what they have to; how fast anything is, no test asserts."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.filterwarnings("default")


def reports(*command: str) -> list[dict[str, object]]:
    """The JSON lines that a benchmark prints."""
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for one in said:
        assert {"goal", "rows", "date", "cpu", "cores", "gpu", "torch", "diffusers", "gesso"} <= set(one)
        assert one["rows"]
    return said


PARTS = ("calls", "company", "ablation", "decoding", "throughput", "lone", "switching", "eight_bits")


def test_every_part_of_the_suite_for_a_gpu_runs_at_small_size() -> None:
    said = reports("benchmarks.gpu", "--small", *PARTS)
    assert [str(one["goal"]).split(":")[0] for one in said] == list(PARTS)


def test_the_servers_own_cost_and_pictures_are_measured_against_their_goals() -> None:
    for command in (("benchmarks.server_cost", "--requests", "320"), ("benchmarks.png",)):
        rows = [row for one in reports(*command) for row in one["rows"]]  # type: ignore[attr-defined]
        assert any(row["met"] in ("yes", "no") for row in rows)
