"""C2: eight requests at once in the engine against a diffusers pipeline that takes them one after another.

Goals: 1.5 times the throughput at 512x512, 1.12 times at 896x1152.
"""

import statistics
import time

import torch

from benchmarks.lone_pipeline import CPU, build_pipeline, paint_with, request
from benchmarks.report import report, spread
from gesso.engine.loop import Loop
from gesso.engine.models import Models

PAIRS = 3
REQUESTS = 8
SCHEDULER = "UniPC"


def main() -> None:
    """Two sizes in the precision that a server takes here."""
    rows = [compare(width, height, torch.bfloat16) for width, height in ((512, 512), (896, 1152))]
    report("C2 eight requests at once, 25 steps UniPC guided: the engine against a pipeline in series", rows)


def compare(width: int, height: int, dtype: torch.dtype) -> dict[str, object]:
    """Pipeline and engine in turn, after one of each that is not counted."""
    pipeline, loop = build_pipeline(SCHEDULER, dtype), Loop(Models(CPU, dtype), lambda event: None)
    theirs, ours = [], []
    for _ in range(PAIRS + 1):
        began = time.monotonic()
        for seed in range(REQUESTS):
            paint_with(pipeline, width, height, seed)
        between = time.monotonic()
        for seed in range(REQUESTS):
            loop.submit(request(SCHEDULER, width, height, seed))
        while not loop.idle:
            loop.turn()
        theirs.append(between - began)
        ours.append(time.monotonic() - between)
    ratio = statistics.median(one / other for one, other in zip(theirs[1:], ours[1:], strict=True))
    return {
        "size": f"{width}x{height}",
        "precision": str(dtype).removeprefix("torch."),
        "pipeline, s": spread(theirs[1:]),
        "engine, s": spread(ours[1:]),
        "times the throughput": ratio,
    }


if __name__ == "__main__":
    main()
