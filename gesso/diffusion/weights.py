"""The weights that make a recorded trajectory: each next latent as a sum over a window of its past.

    x_{i+1} = sum_j latents[i, j] x_{i-j} + sum_j predictions[i, j] m_{i-j} + noise[i] z_i      j = 0..3

A least-squares fit on more random numbers than unknowns; what a window cannot explain shows in the residual.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gesso.diffusion.trajectory import Trajectory

Array = NDArray[np.float64]

WINDOW = 4
# (latents back, predictions back), smallest first: the smallest window that is exact is the best conditioned.
WINDOWS = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (2, 4), (3, 3), (3, 4), (4, 4)]
# Both relative to the largest number in a latent; schedulers that round to float32 inside leave some 6e-8.
EXACT = 1e-6
FAITHFUL = 1e-5
# A window is as exact as the widest one when its residual is within this factor of it, or nothing but float64's own.
SLACK = 4
ROUNDING = 1e-13
# Singular values below this share of the largest are none: columns that depend on one another but for rounding. (Not
# for float32's: from a sigma of 4096, LMS needs what a latent keeps of one four steps back, which is as little.)
INDEPENDENT = 1e-8


@dataclass(frozen=True, slots=True)
class Weights:
    """latents, predictions: [E, 4], newest first, 0 where they reach before the beginning. noise: [E]."""

    latents: Array
    predictions: Array
    noise: Array

    def replay(self, trajectory: Trajectory) -> Array:
        """The latents [E + 1, width] that these weights make of a trajectory's first latent, predictions and noises."""
        made = np.zeros_like(trajectory.latents)
        made[0] = trajectory.latents[0]
        for i in range(len(self.noise)):
            made[i + 1] = self.noise[i] * trajectory.noises[i]
            for back in range(min(WINDOW, i + 1)):
                made[i + 1] += self.latents[i, back] * made[i - back]
                made[i + 1] += self.predictions[i, back] * trajectory.predictions[i - back]
        return made


def solve(trajectory: Trajectory) -> Weights:
    """The weights of a trajectory. Raises ValueError where the window does not explain a step."""
    fits = [_smallest_exact(trajectory, i) for i in range(len(trajectory.noises))]
    return Weights(
        np.array([fit.latents for fit in fits]).reshape(-1, WINDOW),
        np.array([fit.predictions for fit in fits]).reshape(-1, WINDOW),
        np.array([fit.noise for fit in fits]),
    )


def require_faithful(weights: Weights, trajectory: Trajectory) -> None:
    """Raises ValueError unless the weights also make a trajectory that they were not solved from.

    This, not the fit, shows a scheduler to be linear: one that clips fits well as long as nothing is clipped.
    """
    error = np.abs(weights.replay(trajectory) - trajectory.latents).max(axis=1)
    worst = (error / np.abs(trajectory.latents).max(axis=1)).max()
    if not worst <= FAITHFUL:
        raise ValueError(f"the scheduler is not linear: its weights, replayed, are off by {worst:.1e}")


@dataclass(frozen=True, slots=True)
class _Fit:
    latents: Array
    predictions: Array
    noise: float
    residual: float


def _smallest_exact(trajectory: Trajectory, i: int) -> _Fit:
    widest = _fit(trajectory, i, WINDOW, WINDOW)
    if not widest.residual <= EXACT:
        raise ValueError(f"evaluation {i} is no sum over a window of {WINDOW}: off by {widest.residual:.1e}")
    for window in WINDOWS:
        fit = _fit(trajectory, i, *window)
        if fit.residual <= SLACK * widest.residual + ROUNDING:
            return fit
    return widest


def _fit(trajectory: Trajectory, i: int, latents_back: int, predictions_back: int) -> _Fit:
    known_latents = min(latents_back, i + 1)
    known_predictions = min(predictions_back, i + 1)
    columns = [trajectory.latents[i - back] for back in range(known_latents)]
    columns += [trajectory.predictions[i - back] for back in range(known_predictions)]
    columns.append(trajectory.noises[i])
    matrix, target = np.stack(columns, axis=1), trajectory.latents[i + 1]
    solution = np.linalg.lstsq(matrix, target, rcond=INDEPENDENT)[0]
    return _Fit(
        latents=_padded(solution[:known_latents]),
        predictions=_padded(solution[known_latents:-1]),
        noise=float(solution[-1]),
        residual=float(np.abs(matrix @ solution - target).max() / np.abs(target).max()),
    )


def _padded(weights: Array) -> Array:
    padded = np.zeros(WINDOW)
    padded[: len(weights)] = weights
    return padded
