"""How every benchmark says what it measured: rows for people, one JSON line for machines."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch


def report(goal: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print `rows`, which have the same names in the same order, and then everything as a line of JSON."""
    line = json.dumps({"goal": goal, "rows": list(rows), **_circumstances()})
    print(f"\n{goal}\n{table(rows)}\n{line}", flush=True)


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows under their names, in columns."""
    cells = [[*rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join(lines)


def at_least(value: float, goal: float) -> dict[str, object]:
    """What a goal that is a least comes to, for a row."""
    return {"goal": f">= {goal:g}", "met": met(value >= goal)}


def at_most(value: float, goal: float) -> dict[str, object]:
    """What a goal that is a most comes to, for a row."""
    return {"goal": f"<= {goal:g}", "met": met(value <= goal)}


def met(is_met: bool) -> str:
    """Whether a goal is, in a word."""
    return "yes" if is_met else "no"


def spread(seconds: Sequence[float]) -> str:
    """Median (least to most), in seconds."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _circumstances() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("gesso", "torch", "diffusers", "transformers")},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
