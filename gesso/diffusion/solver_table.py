"""A scheduler's run as a table of numbers (skeleton: signatures are final)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gesso.diffusion.span import Span

PredictionType = Literal["epsilon", "v_prediction"]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Start:
    """How a run's first latent is made: latent_scale * start latent + noise_scale * noise."""

    latent_scale: float
    noise_scale: float


@dataclass(frozen=True, slots=True)
class Brownian:
    """The noise of DPM++ SDE: increments of one Brownian motion over sigma_min..sigma_max.

    intervals: [E, 2] from sigma, to sigma; a row of zeros where an evaluation takes no noise.
    """

    sigma_min: float
    sigma_max: float
    intervals: Array


@dataclass(frozen=True, slots=True)
class SolverTable:
    """E evaluations of the model, and after each the next latent (E may be 0: a part with nothing to do).

    With x_0 made as `start` says, x_i the latent that evaluation i sees (times input_scale[i]) and m_i the model's raw
    output (epsilon or v, guidance applied):

        x_{i+1} = sum_j latents[i, j] x_{i-j} + sum_j predictions[i, j] m_{i-j} + noise[i] z_i      j = 0..3

    Weights that reach before the run's beginning are 0. The result is x_E. All arrays are read-only float64.

    timesteps: [E] what the model is told. input_scale: [E]. latents, predictions: [E, 4]. noise: [E].
    draws: [E] bool, where the image's generator yields one z (drawn in order, even if noise[i] is 0).
    step_of: [E] the step, from 1, within the full run of `steps` steps, that an evaluation belongs to.
    brownian: where z comes from a Brownian motion instead (`draws` is False throughout), else None.
    """

    steps: int
    start: Start
    timesteps: Array
    input_scale: Array
    latents: Array
    predictions: Array
    noise: Array
    draws: NDArray[np.bool_]
    step_of: NDArray[np.int64]
    brownian: Brownian | None

    @property
    def evaluations(self) -> int:
        return len(self.timesteps)


@lru_cache(maxsize=512)
def compile_table(scheduler_name: str, steps: int, span: Span, prediction_type: PredictionType) -> SolverTable:
    """The table of a named scheduler's run. Raises BadRequest for what is not served or leaves nothing to do."""
    raise NotImplementedError
