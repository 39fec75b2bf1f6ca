"""The samplers that diffusers has no class for, as their papers write them: plain loops over a denoiser.

They know sigmas, a model that answers with the denoised latent, and a source of noise; nothing of timesteps, spans or
tables. Each yields at the end of every step of its own, and only there may a run be cut in two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Denoiser = Callable[[Array, float], Array]
Noise = Callable[[], Array]

RHO = 7
# A picture is finished where its noise no longer shows; "leading" spacing ends at 0.041, "trailing" far above.
FINISHED = 0.05
# Restart as AUTOMATIC1111 runs it: from this few steps on it goes back up once, for so many steps, between two sigmas;
# from this many on twice, for a quarter of the steps each.
RESTART_ONCE, RESTART_TWICE = 20, 36
RESTART_STEPS = 9
RESTART_LOW, RESTART_HIGH = 0.1, 2.0


class Loop(Protocol):
    """The sampling itself, over `sigmas` [N + 1], descending to 0."""

    def __call__(self, model: Denoiser, noise: Noise, x: Array, sigmas: Array) -> Iterator[Array]:
        """Yields the latent after each step of the solver, from `x`, whose noise is of the first sigma."""
        ...


@dataclass(frozen=True, slots=True)
class Sampler:
    """counts_evaluations: each evaluation of the model, not each step of the solver, is one of a request's steps."""

    loop: Loop
    counts_evaluations: bool = False


def dpmpp_2s_ancestral(model: Denoiser, noise: Noise, x: Array, sigmas: Array) -> Iterator[Array]:
    """DPM-Solver++(2S) (Lu et al. 2022, https://arxiv.org/abs/2211.01095, algorithm 1, r = 1/2), made ancestral.

    As in k-diffusion, with eta 1: each step goes below the next sigma, and noise brings it back up.
    """
    for sigma, sigma_next in pairwise(sigmas):
        below = sigma_next**2 / sigma
        denoised = model(x, sigma)
        if below > 0:
            middle = sqrt(sigma * below)
            denoised = model(_towards(denoised, x, middle / sigma), middle)
        x = _towards(denoised, x, below / sigma)
        if sigma_next > 0:
            x = x + sqrt(sigma_next**2 - below**2) * noise()
        yield x


def dpm_fast(model: Denoiser, noise: Noise, x: Array, sigmas: Array) -> Iterator[Array]:
    """DPM-Solver-fast (Lu et al. 2022, https://arxiv.org/abs/2206.00927, section 3.4): N evaluations, no noise.

    Steps of order 3, evenly spaced in log sigma, and what is left of N in steps of lower order. It ends at the last
    sigma before 0, as in k-diffusion with its own default, eta 0. (AUTOMATIC1111 gives it the eta of its ancestral
    samplers, 1, and so makes another sampler of it.)
    """
    orders = fast_orders(len(sigmas) - 1)
    ends = np.geomspace(sigmas[0], min(sigmas[-2], FINISHED), len(orders) + 1)
    for order, (sigma, sigma_next) in zip(orders, pairwise(ends), strict=True):
        x = SOLVERS[order](model, x, sigma, sigma_next)
        yield x


def restart(model: Denoiser, noise: Noise, x: Array, sigmas: Array) -> Iterator[Array]:
    """Restart (Xu et al. 2023, https://arxiv.org/abs/2306.14878, algorithm 1) with Heun's steps (Karras et al. 2022).

    Where it goes back up to a larger sigma, noise makes up the difference.
    """
    reached = sigmas[0]
    for sigma, sigma_next in restart_path(sigmas):
        if sigma > reached:
            x = x + sqrt(sigma**2 - reached**2) * noise()
        x = _heun(model, x, sigma, sigma_next)
        reached = sigma_next
        yield x


def fast_orders(evaluations: int) -> list[int]:
    """The orders of DPM-Solver-fast's steps, which add up to `evaluations`."""
    thirds, left = divmod(evaluations, 3)
    return [3] * thirds + [left] if left else [3] * (thirds - 1) + [2, 1]


def restart_path(sigmas: Array) -> list[tuple[float, float]]:
    """N steps from sigma to sigma, of which a part goes once more, or twice more, through the same small sigmas."""
    steps = len(sigmas) - 1
    if steps < RESTART_ONCE:
        return list(pairwise(sigmas))
    again, times = (steps // 4, 2) if steps >= RESTART_TWICE else (RESTART_STEPS, 1)
    through = karras(steps - again * times, sigmas[0], sigmas[-2])
    low, high = (int(np.abs(through - sigma).argmin()) for sigma in (RESTART_LOW, RESTART_HIGH))
    once = list(pairwise([*through, 0.0]))
    if low <= high:
        return once
    return once[:low] + times * list(pairwise(karras(again + 1, through[high], through[low]))) + once[low:]


def karras(count: int, largest: float, least: float) -> Array:
    """[count] sigmas, evenly spaced in their 7th root (Karras et al. 2022, https://arxiv.org/abs/2206.00364)."""
    sigmas = np.asarray(np.linspace(largest ** (1 / RHO), least ** (1 / RHO), count) ** RHO)
    sigmas[0], sigmas[-1] = largest, least  # exactly: a rounding error would be a step up
    return sigmas


def _towards(denoised: Array, x: Array, noise_left: float) -> Array:
    return noise_left * x + (1 - noise_left) * denoised


def _slope(model: Denoiser, x: Array, sigma: float) -> Array:
    """dx/dsigma of the probability flow, which is the noise predicted."""
    return (x - model(x, sigma)) / sigma


def _first_order(model: Denoiser, x: Array, sigma: float, sigma_next: float) -> Array:
    return x + (sigma_next - sigma) * _slope(model, x, sigma)


def _second_order(model: Denoiser, x: Array, sigma: float, sigma_next: float) -> Array:
    middle = sqrt(sigma * sigma_next)
    return x + (sigma_next - sigma) * _slope(model, _first_order(model, x, sigma, middle), middle)


def _third_order(model: Denoiser, x: Array, sigma: float, sigma_next: float) -> Array:
    """DPM-Solver-3 with r1 = 1/3, r2 = 2/3; `width` is its h."""
    width = log(sigma / sigma_next)
    near, far = sigma * exp(-width / 3), sigma * exp(-width * 2 / 3)
    slope = _slope(model, x, sigma)
    bend = _slope(model, x + (near - sigma) * slope, near) - slope
    x_far = x + (far - sigma) * slope - 2 * ((sigma - far) / (width * 2 / 3) - far) * bend
    bend = _slope(model, x_far, far) - slope
    return x + (sigma_next - sigma) * slope - 3 / 2 * ((sigma - sigma_next) / width - sigma_next) * bend


def _heun(model: Denoiser, x: Array, sigma: float, sigma_next: float) -> Array:
    slope = _slope(model, x, sigma)
    euler = x + (sigma_next - sigma) * slope
    if sigma_next == 0:
        return euler
    return x + (sigma_next - sigma) * (slope + _slope(model, euler, sigma_next)) / 2


SOLVERS = {1: _first_order, 2: _second_order, 3: _third_order}

SAMPLERS: dict[str, Sampler] = {
    "DPM++ 2S a": Sampler(dpmpp_2s_ancestral),
    "DPM++ 2S a Karras": Sampler(dpmpp_2s_ancestral),
    "DPM fast": Sampler(dpm_fast, counts_evaluations=True),
    "Restart": Sampler(restart),
}
