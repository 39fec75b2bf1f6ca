"""One of our own samplers at work on random data, written down as a diffusers scheduler's run is.

The random data stand in for the model's raw output; what they mean at a sigma is the noise schedule's to say.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesso.diffusion.denoised import denoised, log_sigmas
from gesso.diffusion.samplers import Sampler
from gesso.diffusion.trajectory import AMPLITUDES, SEED, WIDTH, Recording, Trajectory

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NoiseLevels:
    """The sigmas that a run goes over, and what a model that was trained on timesteps makes of them.

    sigmas: [N + 1] for N steps, descending to 0. log_sigmas: [train timesteps], ascending. velocity: the model's
    output is v (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512), not epsilon.
    """

    sigmas: Array
    log_sigmas: Array
    velocity: bool

    def timestep(self, sigma: float) -> float:
        """Interpolated in log sigma; a float32 number, as diffusers tells its models."""
        timestep = np.interp(np.log(sigma), self.log_sigmas, np.arange(len(self.log_sigmas)))
        return float(np.float32(timestep))

    def denoised(self, prediction: Array, x: Array, sigma: float) -> Array:
        """The picture that a model's raw output sees in `x`."""
        return denoised(prediction, x, sigma, self.velocity)


def noise_levels(euler: Any, skipped: int) -> NoiseLevels:
    """Those of a diffusers EulerDiscreteScheduler, its timesteps set, without the first so many steps."""
    return NoiseLevels(
        sigmas=euler.sigmas[skipped:].double().numpy(),
        log_sigmas=log_sigmas(euler.alphas_cumprod),
        velocity=euler.config.prediction_type == "v_prediction",
    )


@dataclass(frozen=True, slots=True)
class SamplerRun:
    """step_of, opens: [E] as of a `Schedule`."""

    recording: Recording
    step_of: NDArray[np.int64]
    opens: NDArray[np.bool_]


def record_sampler(sampler: Sampler, levels: NoiseLevels) -> SamplerRun:
    """Runs a sampler over all of its levels. Raises ValueError where it draws two noises after one evaluation."""
    tape = _Tape(levels)
    ends = [0]
    for latents in sampler.loop(tape.model, tape.noise, tape.result, levels.sigmas):
        tape.result = latents
        ends.append(tape.evaluations)
    evaluation = np.arange(tape.evaluations)
    opens = np.isin(evaluation, ends)
    return SamplerRun(tape.recording(), evaluation + 1 if sampler.counts_evaluations else np.cumsum(opens), opens)


class _Tape:
    """The model and the noise that a loop is given, and what became of them. `result`: the latest whole latent."""

    def __init__(self, levels: NoiseLevels) -> None:
        self._levels = levels
        self._random = np.random.default_rng(SEED)
        self._amplitudes = np.array(AMPLITUDES)[:, None]
        self._sigmas: list[float] = []
        self._latents: list[Array] = []
        self._predictions: list[Array] = []
        self._noises: dict[int, Array] = {}
        self.result = self._amplitudes * self._normal()

    @property
    def evaluations(self) -> int:
        return len(self._sigmas)

    def model(self, x: Array, sigma: float) -> Array:
        self._sigmas.append(sigma)
        self._latents.append(x)
        self._predictions.append(self._amplitudes * self._normal())
        return self._levels.denoised(self._predictions[-1], x, sigma)

    def noise(self) -> Array:
        """It counts to the evaluation before it."""
        evaluation = self.evaluations - 1
        if evaluation < 0 or evaluation in self._noises:
            raise ValueError("a sampler draws more than one noise after an evaluation, or one before the first")
        self._noises[evaluation] = self._normal()
        return self._noises[evaluation]

    def recording(self) -> Recording:
        sigmas, draws = np.array(self._sigmas), np.isin(np.arange(self.evaluations), list(self._noises))
        unused = np.zeros((2, WIDTH))
        latents, predictions = np.array([*self._latents, self.result]), np.array(self._predictions)
        noises = np.array([self._noises.get(i, unused) for i in range(self.evaluations)])
        small, large = (Trajectory(latents[:, k], predictions[:, k], noises[:, k]) for k in range(2))
        timesteps = np.array([self._levels.timestep(sigma) for sigma in sigmas])
        return Recording(timesteps, 1 / np.sqrt(sigmas**2 + 1), draws, np.zeros((len(sigmas), 2)), small, large)

    def _normal(self) -> Array:
        return self._random.standard_normal((2, WIDTH))
