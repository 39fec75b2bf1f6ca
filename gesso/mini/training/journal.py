"""What a training took: for every stage the seed, the steps, the time and the machine, in a file beside its states."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch


@dataclass(frozen=True)
class Entry:
    """One sitting of one stage. `seconds` of it, `loss` smoothed over its last steps."""

    stage: str
    seed: int
    first_step: int
    last_step: int
    seconds: float
    loss: float
    ended: str
    machine: str
    torch: str


def note(path: Path, stage: str, seed: int, steps: tuple[int, int], seconds: float, loss: float) -> None:
    """Add a sitting to the journal at `path`."""
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Entry(stage, seed, *steps, round(seconds), round(loss, 4), ended, _machine(), torch.__version__)
    entries = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*entries, asdict(entry)], indent=1) + "\n")


def _machine() -> str:
    names = [line.split(":")[1].strip() for line in _processors() if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return (
        f"{os.cpu_count()} x {processor}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    )


def _processors() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
