"""The oracle for the samplers that diffusers has no class for: what k-diffusion and AUTOMATIC1111 publish, in float64.

Written apart from the code under test and in other terms: time is -log sigma, as in the papers, and a run is a list of
steps, each done by a function of its own. Diffusers' Euler gives the sigmas.
"""

from collections.abc import Callable
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gesso.diffusion.noise import NoiseSource
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength

EULERS = {
    "DPM++ 2S a": "Euler",
    "DPM++ 2S a Karras": "Euler Karras",
    "DPM fast": "Euler",
    "Restart": "Euler Karras",
}
"""Each sampler, and whose sigmas it runs over."""


class Step(NamedTuple):
    """From one sigma to the next, 0-dimensional float64."""

    sigma: Tensor
    sigma_next: Tensor
    order: int = 2


class Denoiser:
    """A model on timesteps as k-diffusion wraps it: latent and sigma in, denoised latent out. Keeps what it saw."""

    def __init__(self, model: Callable[[Tensor, float], Tensor], euler: Any) -> None:
        alphas = euler.alphas_cumprod.double()
        self.log_sigmas = ((1 - alphas) / alphas).sqrt().log()
        self.model = model
        self.velocity = euler.config.prediction_type == "v_prediction"
        self.seen: list[Tensor] = []

    def timestep(self, sigma: Tensor) -> float:
        low = int((self.log_sigmas[1:-1] <= sigma.log()).sum())
        below, above = self.log_sigmas[low], self.log_sigmas[low + 1]
        return low + float(((sigma.log() - below) / (above - below)).clamp(0, 1))

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.seen.append(x)
        power = sigma**2 + 1
        prediction = self.model((x / power.sqrt()).float(), self.timestep(sigma)).double()
        if self.velocity:
            return x / power - prediction * sigma / power.sqrt()
        return x - prediction * sigma

    def noise_in(self, x: Tensor, sigma: Tensor) -> Tensor:
        return (x - self(x, sigma)) / sigma


def published_run(
    name: str,
    euler: Any,
    model: Callable[[Tensor, float], Tensor],
    span: Span,
    start: Tensor,
    source: NoiseSource,
) -> list[Tensor]:
    """The latents that every evaluation sees, and the last one. `euler`: as `EULERS` says, its timesteps set."""

    def noise() -> Tensor:
        return torch.randn(start.shape, generator=source.generator).double()

    denoiser = Denoiser(model, euler)
    sigmas = euler.sigmas.double()
    if isinstance(span, Strength):
        sigmas = sigmas[len(sigmas) - 1 - int((len(sigmas) - 1) * span.strength) :]
    x = start.double()
    if isinstance(span, Strength):
        x = x + sigmas[0] * noise()
    elif not isinstance(span, DenoisingStart):
        x = float(euler.init_noise_sigma) * noise()
    solve, layout = SAMPLERS[name]
    steps = layout(sigmas)
    taken = _part(steps, span, denoiser)
    for number, step in enumerate(steps):
        if number in taken:
            x = solve(denoiser, x, step, noise)
            if number + 1 < len(steps) and steps[number + 1].sigma > step.sigma_next:
                x = x + noise() * (steps[number + 1].sigma ** 2 - step.sigma_next**2).sqrt()
    return [*denoiser.seen, x]


def _part(steps: list[Step], span: Span, denoiser: Denoiser) -> range:
    if not isinstance(span, DenoisingEnd | DenoisingStart):
        return range(len(steps))
    cutoff = round(1000 - span.fraction * 1000)
    base = list(takewhile(lambda step: round(denoiser.timestep(step.sigma), 3) >= cutoff, steps))
    return range(len(base)) if isinstance(span, DenoisingEnd) else range(len(base), len(steps))


def _neighbours(sigmas: Tensor) -> list[Step]:
    return [Step(*pair) for pair in pairwise(sigmas)]


def _fast(sigmas: Tensor) -> list[Step]:
    """sample_dpm_fast of k-diffusion; where the list ends in visible noise, on to a sigma of 0.05."""
    count = len(sigmas) - 1
    widths = count // 3 + 1
    times = torch.linspace(
        float(-sigmas[0].log()), float(-sigmas[-2].clamp(max=0.05).log()), widths + 1, dtype=torch.float64
    )
    orders = [3] * (widths - 2) + [2, 1] if count % 3 == 0 else [3] * (widths - 1) + [count % 3]
    ends = (-times).exp()
    ends[0] = sigmas[0]
    return [Step(ends[i], ends[i + 1], order) for i, order in enumerate(orders)]


def _restart(sigmas: Tensor) -> list[Step]:
    """restart_sampler of AUTOMATIC1111 1.10, its list of restarts left to itself."""
    count = len(sigmas) - 1
    if count < 20:
        return _neighbours(sigmas)
    more, times = (9, 1) if count < 36 else (count // 4, 2)
    sigmas = torch.cat([_karras(count - more * times, sigmas[-2], sigmas[0]), torch.zeros(1, dtype=torch.float64)])
    lowest, highest = ((sigmas[:-1] - sigma).abs().argmin() for sigma in (0.1, 2.0))
    steps = []
    for number, step in enumerate(_neighbours(sigmas), start=1):
        steps.append(step)
        if number == lowest and highest < lowest:
            for _ in range(times):
                steps += _neighbours(_karras(more + 1, sigmas[lowest], sigmas[highest]))
    return steps


def _karras(count: int, low: Tensor, high: Tensor) -> Tensor:
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    sigmas = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
    sigmas[0], sigmas[-1] = high, low
    return sigmas


def _dpmpp_2s_ancestral(denoiser: Denoiser, x: Tensor, step: Step, noise: Callable[[], Tensor]) -> Tensor:
    sigma, after, _ = step
    up = min(after, (after**2 * (sigma**2 - after**2) / sigma**2).sqrt())
    down = (after**2 - up**2).sqrt()
    if after == 0:
        return x - sigma * denoiser.noise_in(x, sigma)
    time, time_next = -sigma.log(), -down.log()
    half = (time_next - time) / 2
    middle = (-time - half).exp()
    x_middle = middle / sigma * x - torch.expm1(-half) * denoiser(x, sigma)
    x = down / sigma * x - torch.expm1(-2 * half) * denoiser(x_middle, middle)
    return x + noise() * up


def _dpm_solver(denoiser: Denoiser, x: Tensor, step: Step, noise: Callable[[], Tensor]) -> Tensor:
    """DPM-Solver-1, -2 and -3 of Lu et al. 2022, appendix B, in k-diffusion's variables (alpha = 1)."""
    time = -step.sigma.log()
    h = -step.sigma_next.log() - time
    first = denoiser.noise_in(x, step.sigma)
    if step.order == 1:
        return x - step.sigma_next * torch.expm1(h) * first
    r1, r2 = (1 / 2, None) if step.order == 2 else (1 / 3, 2 / 3)
    at = (-(time + r1 * h)).exp()
    second = denoiser.noise_in(x - at * torch.expm1(r1 * h) * first, at)
    if r2 is None:
        turn = step.sigma_next / (2 * r1) * torch.expm1(h) * (second - first)
        return x - step.sigma_next * torch.expm1(h) * first - turn
    at = (-(time + r2 * h)).exp()
    turn = at * r2 / r1 * (torch.expm1(r2 * h) / (r2 * h) - 1) * (second - first)
    third = denoiser.noise_in(x - at * torch.expm1(r2 * h) * first - turn, at)
    turn = step.sigma_next / r2 * (torch.expm1(h) / h - 1) * (third - first)
    return x - step.sigma_next * torch.expm1(h) * first - turn


def _heun(denoiser: Denoiser, x: Tensor, step: Step, noise: Callable[[], Tensor]) -> Tensor:
    width = step.sigma_next - step.sigma
    slope = denoiser.noise_in(x, step.sigma)
    if step.sigma_next == 0:
        return x + width * slope
    return x + width * (slope + denoiser.noise_in(x + width * slope, step.sigma_next)) / 2


SAMPLERS = {
    "DPM++ 2S a": (_dpmpp_2s_ancestral, _neighbours),
    "DPM++ 2S a Karras": (_dpmpp_2s_ancestral, _neighbours),
    "DPM fast": (_dpm_solver, _fast),
    "Restart": (_heun, _restart),
}
