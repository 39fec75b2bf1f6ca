"""A scheduler's run as a table of numbers: one update for all of them, whatever their mathematics.

Every scheduler that SDXL uses is linear in what it is fed: the next latent is a weighted sum of past latents, past
predictions and one noise. So it is run once on random data, and its weights are solved for over a window of four
latents and four predictions. That it is linear is shown by the weights making a second run, larger by far, as well.
Diffusers' own float32 sigmas go in; everything else is float64.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from gesso.diffusion.noise_schedule import require_trailing
from gesso.diffusion.sampler_run import noise_levels, record_sampler
from gesso.diffusion.samplers import SAMPLERS, Sampler
from gesso.diffusion.schedule import Schedule
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.diffusion.span import DenoisingStart, Span, Strength, WholeRun
from gesso.diffusion.trajectory import Recording, begin_at, record
from gesso.diffusion.weights import require_faithful, solve

Array = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Start:
    """How a run's first latent is made: latent_scale * start latent + noise_scale * noise."""

    latent_scale: float
    noise_scale: float


@dataclass(frozen=True, slots=True)
class Brownian:
    """The noise of DPM++ SDE: normalised increments of one Brownian motion over sigma_min..sigma_max.

    intervals: [E, 2] from sigma, to sigma (float32 numbers); a row of zeros where an evaluation takes no noise.
    """

    sigma_min: float
    sigma_max: float
    intervals: Array


@dataclass(frozen=True, slots=True)
class SolverTable:
    """E evaluations of the model, and after each the next latent. (E may be 0: a part with nothing to do.)

    With x_0 made as `start` says, x_i the latent that evaluation i sees (times input_scale[i]) and m_i the model's raw
    output (epsilon or v, guidance applied):

        x_{i+1} = sum_j latents[i, j] x_{i-j} + sum_j predictions[i, j] m_{i-j} + noise[i] z_i      j = 0..3

    Weights that reach before the run's beginning are 0. The result is x_E. All arrays are read-only.

    steps: of the full run. timesteps: [E] what the model is told. input_scale: [E]. latents, predictions: [E, 4].
    noise: [E]. draws: [E] bool, where the image's generator yields z_i, drawn in order even if noise[i] is 0.
    step_of: [E] the step, from 1, within the full run, that an evaluation belongs to.
    brownian: where z comes from a Brownian motion instead (`draws` is then False throughout), else None.
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
def compile_table(scheduler_name: str, steps: int, span: Span, diffusion: Diffusion) -> SolverTable:
    """The table of a served scheduler's run.

    Raises BadRequest for another name, a strength that leaves no step, or steps that cannot be spaced.
    """
    scheduler = build_scheduler(scheduler_name, diffusion)
    if diffusion.zero_terminal_snr:
        require_trailing(steps)
    if scheduler_name in SAMPLERS:
        return compile_sampler(SAMPLERS[scheduler_name], scheduler, steps, span)
    return compile_scheduler(scheduler, steps, span)


def compile_scheduler(scheduler: Any, steps: int, span: Span) -> SolverTable:
    """The table of any fresh diffusers scheduler, which is used up. Raises ValueError where it is not linear."""
    scheduler.set_timesteps(steps)
    schedule = Schedule.of_order(scheduler.timesteps.double().numpy(), steps, scheduler.order)
    evaluations = schedule.evaluations(span)
    start = _start(scheduler, span, evaluations.start)
    recording = record(scheduler, evaluations)
    step_of = schedule.step_of[evaluations.start : evaluations.stop]
    return _table(steps, start, step_of, recording, _brownian(scheduler, recording))


def compile_sampler(sampler: Sampler, euler: Any, steps: int, span: Span) -> SolverTable:
    """The table of a sampler of our own over the sigmas of a fresh EulerDiscreteScheduler, which is used up.

    With a strength it is run over the last sigmas alone: how a sampler shares its steps out depends on how many it has.
    """
    euler.set_timesteps(steps)
    skipped, part = (span.skipped(steps), WholeRun()) if isinstance(span, Strength) else (0, span)
    run = record_sampler(sampler, noise_levels(euler, skipped))
    schedule = Schedule(run.recording.timesteps, steps, run.step_of + skipped, run.opens)
    evaluations = schedule.evaluations(part)
    step_of = schedule.step_of[evaluations.start : evaluations.stop]
    return _table(steps, _start(euler, span, skipped), step_of, run.recording.part(evaluations), None)


def _table(
    steps: int, start: Start, step_of: NDArray[np.int64], recording: Recording, brownian: Brownian | None
) -> SolverTable:
    weights = solve(recording.small)
    require_faithful(weights, recording.large)
    return SolverTable(
        steps=steps,
        start=start,
        timesteps=_frozen(recording.timesteps),
        input_scale=_frozen(recording.input_scale),
        latents=_frozen(weights.latents),
        predictions=_frozen(weights.predictions),
        noise=_frozen(weights.noise),
        draws=_frozen(recording.draws),
        step_of=_frozen(step_of),
        brownian=brownian,
    )


def _start(scheduler: Any, span: Span, first: int) -> Start:
    """Of a diffusers scheduler whose part begins with its evaluation `first`."""
    if isinstance(span, DenoisingStart):
        return Start(1.0, 0.0)
    if not isinstance(span, Strength):
        return Start(0.0, float(scheduler.init_noise_sigma))
    begin_at(scheduler, first)
    timestep = scheduler.timesteps[first : first + 1]
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    return Start(
        scheduler.add_noise(one, zero, timestep).item(),
        scheduler.add_noise(zero, one, timestep).item(),
    )


def _brownian(scheduler: Any, recording: Recording) -> Brownian | None:
    if not recording.intervals.any():
        return None
    sigmas = scheduler.sigmas
    return Brownian(sigmas[sigmas > 0].min().item(), sigmas.max().item(), _frozen(recording.intervals))


def _frozen(array: NDArray[Number]) -> NDArray[Number]:
    array.setflags(write=False)
    return array
