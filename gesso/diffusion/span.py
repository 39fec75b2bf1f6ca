"""Which part of a run is taken: all of it, what an ensemble's base or refiner takes, or what img2img takes.

The words and their meaning are those of diffusers' SDXL pipelines (0.42). Known of a schedule: the timesteps of its
evaluations, its steps, and its order, 2 where a step takes two evaluations (and the last one takes one).
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


Span = WholeRun | DenoisingEnd | DenoisingStart | Strength


@dataclass(frozen=True, slots=True)
class Schedule:
    """A full run: `timesteps` [evaluations] float64, descending; `steps`; `order`."""

    timesteps: NDArray[np.float64]
    steps: int
    order: int

    @property
    def step_of(self) -> NDArray[np.int64]:
        """[evaluations] the step, from 1, that each belongs to. (PNDM's first step alone takes two evaluations.)"""
        evaluation = np.arange(len(self.timesteps))
        if self.order == 2:
            return evaluation // 2 + 1
        return np.maximum(evaluation + 1 - (len(self.timesteps) - self.steps), 1)

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
            case Strength(strength):
                return range(self._begin(strength), count)

    def _begin(self, strength: float) -> int:
        taken = min(int(self.steps * strength), self.steps)
        if taken == 0:
            raise BadRequest(f"a strength of {strength} leaves nothing to do in {self.steps} steps; raise either")
        return (self.steps - taken) * self.order

    def _cut(self, fraction: float) -> int:
        """How many evaluations lie before the cut: the steps that start at or above its timestep.

        Only whole steps: where diffusers' own pipelines cut between a step's two evaluations, half a step is lost.
        """
        threshold = round(TRAIN_TIMESTEPS - fraction * TRAIN_TIMESTEPS)
        before = int((self.timesteps[:: self.order] >= threshold).sum())
        return min(before * self.order, len(self.timesteps))


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise BadRequest(f"a noise fraction of {fraction} is not strictly between 0 and 1")
