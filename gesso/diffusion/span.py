"""Which part of a run is taken: all of it, what an ensemble's base or refiner takes, or what img2img takes.

The words and their meaning are those of diffusers' SDXL pipelines (0.42). Known of a schedule: for each evaluation of
the model its timestep, the step that it counts to, and whether the solver begins a step of its own there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gesso.errors import BadRequest

TRAIN_TIMESTEPS = 1000


@dataclass(frozen=True, slots=True)
class WholeRun:
    """From pure noise to the picture."""


@dataclass(frozen=True, slots=True)
class DenoisingEnd:
    """From pure noise until the cut at `fraction` of the noise schedule, 0 < fraction < 1; the noise left stays in."""

    fraction: float

    def __post_init__(self) -> None:
        _require_fraction(self.fraction)


@dataclass(frozen=True, slots=True)
class DenoisingStart:
    """From latents that still hold their noise, at the cut at `fraction`, 0 < fraction < 1, to the picture."""

    fraction: float

    def __post_init__(self) -> None:
        _require_fraction(self.fraction)


@dataclass(frozen=True, slots=True)
class Strength:
    """From clean latents, noised as `strength` says, 0 < strength <= 1: the last int(steps * strength) steps."""

    strength: float

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise BadRequest(f"a strength of {self.strength} is not above 0 and at most 1")

    def skipped(self, steps: int) -> int:
        """How many of a full run's steps are left out. Raises BadRequest where that is all of them."""
        taken = min(int(steps * self.strength), steps)
        if taken == 0:
            raise BadRequest(f"a strength of {self.strength} leaves nothing to do in {steps} steps; raise either")
        return steps - taken


Span = WholeRun | DenoisingEnd | DenoisingStart | Strength


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


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise BadRequest(f"a noise fraction of {fraction} is not strictly between 0 and 1")
