"""C2: eight requests at once in the engine against a diffusers pipeline that takes them one after another.

Goals: 1.5 times the throughput at 512x512, 1.12 times at 896x1152.
"""

import torch

from benchmarks.lone_pipeline import Work
from benchmarks.report import report
from benchmarks.side_by_side import compare


def main() -> None:
    """Two sizes in the precision that a server takes here."""
    sizes = ((512, 512), (896, 1152))
    rows = [compare(Work(width, height, torch.bfloat16), images=8, pairs=2) for width, height in sizes]
    report("C2 eight requests at once, 25 steps UniPC guided: the engine against a pipeline in series", rows)


if __name__ == "__main__":
    main()
