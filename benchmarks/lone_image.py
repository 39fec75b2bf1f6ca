"""C1: one image, engine against a diffusers pipeline, same weights and precision, in turn; goal 1.1 times as fast."""

import torch

from benchmarks.lone_pipeline import Work
from benchmarks.report import report
from benchmarks.side_by_side import compare


def main() -> None:
    """Two sizes, two precisions."""
    rows = [
        compare(Work(width, height, dtype), images=1, pairs=3)
        for dtype in (torch.bfloat16, torch.float32)
        for width, height in ((512, 512), (896, 1152))
    ]
    report("C1 one image, 25 steps UniPC guided: the engine against a diffusers pipeline", rows)


if __name__ == "__main__":
    main()
