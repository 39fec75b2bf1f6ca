"""An image in flight: a slot, a place in its plan, and its own noise."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor

from gesso.diffusion.noise import BrownianNoise, NoiseSource
from gesso.engine.messages import Paint
from gesso.engine.plan import Leg
from gesso.engine.slots import Slab
from gesso.sdxl.vae import Vae


@dataclass(slots=True, eq=False)
class InFlight:
    """One image of a request between admission and retirement.

    `vae` decodes it. `evaluation` is of the present leg, `done` counts those of all legs; `over` when nothing is left
    but decoding. `failures`: how often memory did not suffice for it.
    """

    request: Paint
    index: int
    legs: tuple[Leg, ...]
    vae: Vae
    slab: Slab
    slot: int
    source: NoiseSource
    leg_number: int = 0
    evaluation: int = 0
    done: int = 0
    over: bool = False
    failures: int = 0
    _brownian: BrownianNoise | None = field(default=None)

    @property
    def leg(self) -> Leg:
        """The run it is in."""
        return self.legs[self.leg_number]

    @property
    def guidance_scale(self) -> float:
        """Its request's."""
        return self.request.guidance_scale

    @property
    def due(self) -> int:
        """Model evaluations from beginning to end."""
        return sum(leg.table.evaluations for leg in self.legs)

    @property
    def batch_key(self) -> Hashable:
        """Images of equal key can share a UNet call."""
        return self.leg.batch_key(self.request, self.evaluation)

    @property
    def rows(self) -> int:
        """How many rows of a UNet call it takes."""
        return self.leg.rows_of_an_image

    @property
    def latent(self) -> Tensor:
        """Its newest latent, [channels, h, w] float32."""
        return self.slab.latents[self.slot, 0]

    def begin(self, latent: Tensor) -> None:
        """Start the present leg from `latent`, noised as the leg's table says."""
        start, shape = self.leg.table.start, tuple(latent.shape)
        if start.noise_scale:
            noise = self.source.draw((1, *shape))[0].to(latent.device)
            latent = start.latent_scale * latent + start.noise_scale * noise
        self.slab.begin(self.slot, latent)
        self.evaluation = 0
        if (motion := self.leg.table.brownian) is not None:
            self._brownian = BrownianNoise(self.source.seed, (1, *shape), motion.sigma_min, motion.sigma_max)
        self._settle()

    def step_noise(self) -> Tensor | None:
        """The noise of the present evaluation, [channels, h, w] float32 on the CPU; None where there is none."""
        table = self.leg.table
        if table.draws[self.evaluation]:
            return self.source.draw((1, *self.latent.shape))[0]
        if table.brownian is not None and table.noise[self.evaluation]:
            assert self._brownian is not None
            return self._brownian.between(*map(float, table.brownian.intervals[self.evaluation]))[0]
        return None

    def advance(self) -> None:
        """One evaluation further. A leg's result is the next one's start."""
        self.evaluation += 1
        self.done += 1
        self._settle()

    def _settle(self) -> None:
        """Pass over a leg that is over (or had nothing to do)."""
        if self.evaluation < self.leg.table.evaluations:
            return
        if self.leg_number + 1 == len(self.legs):
            self.over = True
        else:
            self.leg_number += 1
            self.begin(self.latent.clone())
