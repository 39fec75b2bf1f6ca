"""Which part of a run is taken: all of it, what an ensemble's base or refiner takes, or what img2img takes.

The words and their meaning are those of diffusers' SDXL pipelines (0.42). Free of torch and numpy, so that a request
can be refused early; which evaluations of the model a part comes to is known to `gesso.diffusion.schedule`.
"""

from dataclasses import dataclass

from gesso.errors import BadRequest, Problem

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

    def taken(self, steps: int) -> int:
        """How many of a full run's steps are left to take. Raises BadRequest where that is none."""
        taken = int(steps * self.strength)
        if taken == 0:
            sentence = f"{self.strength} of {steps} steps is less than one; use a higher strength or more steps"
            raise BadRequest.of([Problem("strength", self.strength, sentence)])
        return taken

    def skipped(self, steps: int) -> int:
        """How many are left out. Raises as `taken` does."""
        return steps - self.taken(steps)


Span = WholeRun | DenoisingEnd | DenoisingStart | Strength


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise BadRequest(f"a noise fraction of {fraction} is not strictly between 0 and 1")
