"""C1: one image, engine against a diffusers pipeline, same weights and precision, in turn; goal 1.1 times as fast."""

import statistics
import time

import torch

from benchmarks.lone_pipeline import CPU, build_pipeline, paint_with, request
from benchmarks.report import report, spread
from gesso.engine.loop import Loop
from gesso.engine.models import Models

PAIRS = 5
SCHEDULER = "UniPC"


def main() -> None:
    """Two sizes, two precisions."""
    rows = [
        compare(width, height, dtype)
        for dtype in (torch.bfloat16, torch.float32)
        for width, height in ((512, 512), (896, 1152))
    ]
    report("C1 one image, 25 steps UniPC guided: the engine against a diffusers pipeline", rows)


def compare(width: int, height: int, dtype: torch.dtype) -> dict[str, object]:
    """Pipeline and engine in turn, after one of each that is not counted."""
    pipeline, loop = build_pipeline(SCHEDULER, dtype), Loop(Models(CPU, dtype), lambda event: None)
    theirs, ours = [], []
    for seed in range(PAIRS + 1):
        began = time.monotonic()
        paint_with(pipeline, width, height, seed)
        between = time.monotonic()
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
        "times as fast": ratio,
    }


if __name__ == "__main__":
    main()
