"""The clean latent that a model's raw output sees in a noisy one: x0, at any point of a run.

Noise is told as sigma, and a noisy latent as x = x0 + sigma n (Karras et al. 2022, https://arxiv.org/abs/2206.00364).
"""

from functools import cache
from math import exp, sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gesso.diffusion.schedulers import Diffusion, build_scheduler

Array = NDArray[np.float64]
Values = TypeVar("Values", Array, Tensor)


def denoised(prediction: Values, x: Values, sigma: float, velocity: bool) -> Values:
    """x0 of `x`, by a prediction of v (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512) or of epsilon."""
    if velocity:
        return x / (sigma**2 + 1) - sigma / sqrt(sigma**2 + 1) * prediction
    return x - sigma * prediction


def estimate(seen: Tensor, prediction: Tensor, timestep: float, diffusion: Diffusion) -> Tensor:
    """x0 by what a model saw, x scaled to keep its variance, and what it answered when it was told `timestep`."""
    sigma = sigma_at(timestep, diffusion)
    return denoised(prediction, seen * sqrt(sigma**2 + 1), sigma, diffusion.prediction_type == "v_prediction")


def sigma_at(timestep: float, diffusion: Diffusion) -> float:
    """How noisy a latent is at a timestep of training, which may be a fraction: interpolated in log sigma."""
    levels = _log_sigmas(diffusion)
    return exp(np.interp(timestep, np.arange(len(levels)), levels))


@cache
def _log_sigmas(diffusion: Diffusion) -> Array:
    """[train timesteps], ascending."""
    return log_sigmas(build_scheduler("Euler", diffusion).alphas_cumprod)


def log_sigmas(cumulative_alphas: Tensor) -> Array:
    """The same shape, float64."""
    levels: Array = (((1 - cumulative_alphas) / cumulative_alphas) ** 0.5).double().log().numpy()
    return levels
