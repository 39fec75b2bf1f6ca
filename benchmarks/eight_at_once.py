"""C2: eight requests at once in the engine against a diffusers pipeline that takes them one after another.

Goals: 1.5 times the throughput at 512x512, 1.12 times at 896x1152.
"""

import torch

from benchmarks.lone_pipeline import Work
from benchmarks.report import at_least, report
from benchmarks.side_by_side import compare

GOALS = {(512, 512): 1.5, (896, 1152): 1.12}


def main() -> None:
    """Two sizes in the precision that a server takes here."""
    rows = []
    for (width, height), goal in GOALS.items():
        compared = compare(Work(width, height, torch.bfloat16), images=8, runs=2)
        rows.append(compared.row | at_least(compared.times_as_fast_as("pipeline"), goal))
    report("C2 eight requests at once, 25 steps UniPC guided: the engine against a pipeline in series", rows)


if __name__ == "__main__":
    main()
