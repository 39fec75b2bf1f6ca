"""A full run's evaluations of the model, and which of them a part of the run takes.

Known of a run: for each evaluation its timestep, the step that it counts to, and whether the solver begins a step of
its own there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gesso.diffusion.span import TRAIN_TIMESTEPS, DenoisingEnd, DenoisingStart, Span, Strength, WholeRun


@dataclass(frozen=True, slots=True)
class Schedule:
    """A full run of E evaluations over `steps` steps.

    timesteps: [E] float64. step_of: [E] the step, from 1, that each counts to. opens: [E] bool, where the solver begins
    a step of its own: a run may be cut before it, and nowhere else.
    """

    timesteps: NDArray[np.float64]
    steps: int
    step_of: NDArray[np.int64]
    opens: NDArray[np.bool_]

    @classmethod
    def of_order(cls, timesteps: NDArray[np.float64], steps: int, order: int) -> "Schedule":
        """That of a diffusers scheduler: each step takes `order` evaluations, 1 or 2, and of two the last takes one.

        PLMS, of order 1, evaluates its first step twice; diffusers cuts it there all the same.
        """
        evaluation = np.arange(len(timesteps))
        step_of = evaluation // 2 + 1 if order == 2 else np.maximum(evaluation + 1 - (len(timesteps) - steps), 1)
        return cls(timesteps, steps, step_of, evaluation % order == 0)

    def evaluations(self, span: Span) -> range:
        """Those that `span` takes. Raises BadRequest where a strength leaves no step to take."""
        count = len(self.timesteps)
        match span:
            case WholeRun():
                return range(count)
            case DenoisingEnd(fraction):
                return range(self._cut(fraction))
            case DenoisingStart(fraction):
                return range(self._cut(fraction), count)
            case Strength():
                return range(int(np.flatnonzero(self.opens)[span.skipped(self.steps)]), count)

    def _cut(self, fraction: float) -> int:
        """The first evaluation of the first step that starts below the cut's timestep.

        Only whole steps: where diffusers' own pipelines cut between a step's two evaluations, half a step is lost.
        """
        threshold = round(TRAIN_TIMESTEPS - fraction * TRAIN_TIMESTEPS)
        below = np.flatnonzero(self.opens & (self.timesteps < threshold))
        return int(below[0]) if len(below) else len(self.timesteps)
