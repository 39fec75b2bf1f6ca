"""C1: one image, engine against a diffusers pipeline, same weights and precision, in turn; goal 1.1 times as fast.

`--compiled`: also against the pipeline with its UNet compiled, which takes a minute for each size; without a goal.
"""

import argparse

import torch

from benchmarks.lone_pipeline import Work
from benchmarks.report import at_least, report
from benchmarks.side_by_side import PIPELINE, compare, compiled

GOAL = 1.1


def main() -> None:
    """Two sizes, two precisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiled", action="store_true")
    with_compiled = {"compiled": compiled} if parser.parse_args().compiled else {}
    peers, rows = PIPELINE | with_compiled, []
    for dtype in (torch.bfloat16, torch.float32):
        for width, height in ((512, 512), (896, 1152)):
            compared = compare(Work(width, height, dtype), images=1, runs=3, peers=peers)
            rows.append(compared.row | at_least(compared.times_as_fast_as("pipeline"), GOAL))
    report("C1 one image, 25 steps UniPC guided: the engine against a diffusers pipeline", rows)


if __name__ == "__main__":
    main()
