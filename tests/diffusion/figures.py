"""How close each scheduler's tables come to its diffusers loops, printed: python -m tests.diffusion.figures"""

import warnings

import numpy as np
import torch

from gesso.diffusion.names import SERVED
from gesso.diffusion.solver_table import compile_table
from gesso.diffusion.span import WholeRun

from .test_solver_table import DIFFUSIONS, EPSILON, SPANS, deviation


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DeprecationWarning)
    print(f"{'scheduler':<30} {'calls at 50':>11} {'largest weight':>14} {'worst deviation':>15}")
    for name in SERVED:
        table = compile_table(name, 50, WholeRun(), EPSILON)
        largest = np.abs(np.hstack([table.latents, table.predictions])).max()
        worst = max(
            deviation(name, steps, span, kind) for steps in (20, 50) for span in SPANS for kind in DIFFUSIONS.values()
        )
        print(f"{name:<30} {table.evaluations:>11} {largest:>14.2f} {worst:>15.1e}", flush=True)


if __name__ == "__main__":
    main()
