"""C1: one image, engine against a diffusers pipeline, same weights and precision, in turn; goal 1.1 times as fast.

Also against the pipeline with its UNet compiled, without a goal.
"""

import torch

from benchmarks.lone_pipeline import Work, build_pipeline
from benchmarks.report import at_least, report
from benchmarks.side_by_side import compare, compiled

GOAL = 1.1
PEERS = {"pipeline": build_pipeline, "compiled": compiled}


def main() -> None:
    """Two sizes, two precisions."""
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for width, height in ((512, 512), (896, 1152)):
            compared = compare(Work(width, height, dtype), images=1, runs=3, peers=PEERS)
            rows.append(compared.row | at_least(compared.times_as_fast_as("pipeline"), GOAL))
    report("C1 one image, 25 steps UniPC guided: the engine against a diffusers pipeline", rows)


if __name__ == "__main__":
    main()
