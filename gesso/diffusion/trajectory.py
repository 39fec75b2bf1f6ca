"""A sampler's run on random data, written down: what it was fed and what it answered. Knows nothing of tables.

A recording is all that the weights are solved from, so any sampler whose run can be recorded can become a table.
"""

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from diffusers import DPMSolverSDEScheduler
from numpy.typing import NDArray

Array = NDArray[np.float64]

SEED = 1
# Two images of one row of numbers each: the weights are solved from the first and must also make the second, which is
# larger by far. A scheduler treats the images of a batch alike and apart.
AMPLITUDES = (1.0, 8.0)
WIDTH = 64
SHAPE = (2, 1, 8, 8)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """E evaluations of one image of WIDTH independent random numbers, float64.

    latents: [E + 1, WIDTH], the last one the result. predictions, noises: [E, WIDTH], noises zero where none is used.
    """

    latents: Array
    predictions: Array
    noises: Array

    def part(self, evaluations: range) -> "Trajectory":
        """That of these evaluations alone."""
        first, end = evaluations.start, evaluations.stop
        return Trajectory(self.latents[first : end + 1], self.predictions[first:end], self.noises[first:end])


@dataclass(frozen=True, slots=True)
class Recording:
    """A run of E evaluations, seen from outside.

    timesteps: [E] what the model is told. input_scale: [E] the model sees latent * input_scale.
    draws: [E] bool, whether a noise came from the generator; intervals: [E, 2] sigmas, where it came from a Brownian
    motion instead. small, large: what the two images of the run were fed and what they became.
    """

    timesteps: Array
    input_scale: Array
    draws: NDArray[np.bool_]
    intervals: Array
    small: Trajectory
    large: Trajectory

    def part(self, evaluations: range) -> "Recording":
        """That of these evaluations alone; what came before is forgotten."""
        taken = slice(evaluations.start, evaluations.stop)
        return Recording(
            self.timesteps[taken],
            self.input_scale[taken],
            self.draws[taken],
            self.intervals[taken],
            self.small.part(evaluations),
            self.large.part(evaluations),
        )


def record(scheduler: Any, evaluations: range) -> Recording:
    """Runs a diffusers scheduler, timesteps set and nothing run yet, over some of its evaluations.

    Raises ValueError where a step draws more than one noise.
    """
    count = len(evaluations)
    random = np.random.default_rng(SEED)
    amplitudes = np.array(AMPLITUDES)[:, None]
    predictions = amplitudes * random.standard_normal((count, 2, WIDTH))
    latents, noises = np.zeros((count + 1, 2, WIDTH)), np.zeros((count, 2, WIDTH))
    latents[0] = amplitudes * random.standard_normal((2, WIDTH))
    input_scale, draws, intervals = np.zeros(count), np.zeros(count, dtype=bool), np.zeros((count, 2))

    begin_at(scheduler, evaluations.start)
    tap = _tap(scheduler)
    timesteps = scheduler.timesteps[evaluations.start : evaluations.stop]
    for i, timestep in enumerate(timesteps):
        input_scale[i] = scheduler.scale_model_input(torch.ones(1, dtype=torch.float64), timestep).item()
        sample, prediction = _tensor(latents[i]), _tensor(predictions[i])
        after = scheduler.step(prediction, timestep, sample, return_dict=False, **tap.arguments)[0]
        latents[i + 1] = _array(after)
        noises[i], draws[i], intervals[i] = tap.take()
    small, large = (Trajectory(latents[:, k], predictions[:, k], noises[:, k]) for k in range(2))
    return Recording(timesteps.double().numpy(), input_scale, draws, intervals, small, large)


def begin_at(scheduler: Any, evaluation: int) -> None:
    """As the pipelines do; schedulers that keep no index of their own read the timestep instead."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(evaluation)


def _tensor(values: Array) -> torch.Tensor:
    return torch.from_numpy(values.copy()).view(SHAPE)


def _array(tensor: torch.Tensor) -> Array:
    return tensor.double().view(2, WIDTH).numpy()


class Taken(NamedTuple):
    """The noise [2, WIDTH] of a step, whether the generator gave it, and its sigmas if a Brownian motion did."""

    noise: Array = np.zeros((2, WIDTH))
    drawn: bool = False
    interval: tuple[float, float] = (0.0, 0.0)


class Tap(Protocol):
    """Learns what noise a step used. `arguments` go into the scheduler's step."""

    arguments: dict[str, torch.Generator]

    def take(self) -> Taken:
        """What the step just done used."""
        ...


def _tap(scheduler: Any) -> Tap:
    if isinstance(scheduler, DPMSolverSDEScheduler):
        return _BrownianTap(scheduler)
    return _GeneratorTap("generator" in inspect.signature(scheduler.step).parameters)


class _GeneratorTap:
    """A second generator with the same seed catches up with the scheduler's, and so knows what it drew.

    So nothing of diffusers is replaced, which a server that compiles in several threads could not do safely.
    """

    def __init__(self, taken_by_step: bool) -> None:
        self._given = torch.Generator("cpu").manual_seed(SEED)
        self._shadow = torch.Generator("cpu").manual_seed(SEED)
        self.arguments = {"generator": self._given} if taken_by_step else {}

    def take(self) -> Taken:
        reached, before = self._given.get_state(), self._shadow.get_state()
        if torch.equal(reached, before):
            return Taken()
        for dtype in (torch.float64, torch.float32):  # some classes draw in the prediction's type, some in float32
            noise = torch.randn(SHAPE, generator=self._shadow.set_state(before), dtype=dtype)
            if torch.equal(reached, self._shadow.get_state()):
                return Taken(_array(noise), drawn=True)
        raise ValueError("a step draws more than one noise of the latent's shape")


class _BrownianTap:
    """Stands in for the scheduler's Brownian motion, which takes no generator, and notes the intervals asked for."""

    def __init__(self, scheduler: DPMSolverSDEScheduler) -> None:
        self.arguments: dict[str, torch.Generator] = {}
        self._random = np.random.default_rng(SEED + 1)
        self._taken = Taken()
        scheduler.noise_sampler = self._between

    def _between(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        noise = self._random.standard_normal((2, WIDTH))
        self._taken = Taken(noise, interval=(float(sigma), float(sigma_next)))
        return _tensor(noise)

    def take(self) -> Taken:
        taken, self._taken = self._taken, Taken()
        return taken
