"""The table of docs/schedulers.md: what each scheduler does, and how close its tables come to its own loop.

Printed by `python -m tests.diffusion.figures`.
"""

import warnings

import torch

from gesso.diffusion.names import SERVED
from gesso.diffusion.schedulers import RECIPES, Diffusion
from gesso.diffusion.solver_table import SolverTable, compile_table
from gesso.diffusion.span import WholeRun

from .published_loops import EULERS
from .test_hand_over import STEPS, WITHOUT_HISTORY
from .test_solver_table import DIFFUSIONS, SPANS, deviation

COLUMNS = ["scheduler", "runs diffusers'", "calls for N steps", "noise", "cut in two", *DIFFUSIONS]
CALLS = {20: "N", 21: "N + 1", 39: "2N - 1"}
"""Of the model, by how many it takes for 20 steps."""


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(_line(COLUMNS))
    print(_line(["---"] * len(COLUMNS)))
    for name in sorted(SERVED):
        print(_line(known(name) + [f"{worst(name, diffusion):.0e}" for diffusion in DIFFUSIONS.values()]), flush=True)


def known(name: str) -> list[str]:
    """What is not measured: a scheduler's name, its class, calls of the model, its noise, and what a cut does to it."""
    table = compile_table(name, 20, WholeRun(), DIFFUSIONS["epsilon"])
    scheduler = f"{RECIPES[name].scheduler.removesuffix('Scheduler')}{', its sigmas' if name in EULERS else ''}"
    cut = "is the run" if name in WITHOUT_HISTORY else "begins anew"
    return [name, scheduler, CALLS[table.evaluations], _noise(table), cut]


def _noise(table: SolverTable) -> str:
    if table.brownian is not None:
        return "Brownian"
    if table.draws.any():
        return "each step" if table.draws.sum() >= table.steps - 1 else "at restarts"
    return "none"


def worst(name: str, diffusion: Diffusion) -> float:
    """The largest deviation after any evaluation: of every part of 20 steps, and of whole runs of more."""
    runs = [(20, span) for span in SPANS] + [(steps, WholeRun()) for steps in STEPS]
    return max(deviation(name, steps, span, diffusion) for steps, span in runs)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
