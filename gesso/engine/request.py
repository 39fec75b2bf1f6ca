"""A request in the engine, from its arrival to its last picture: what has become of it, and what it still needs."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, field

from gesso.diffusion.guidance import is_guided
from gesso.engine.costs import Costs
from gesso.engine.flight import InFlight
from gesso.engine.messages import Paint, Timings
from gesso.engine.models import Held
from gesso.engine.names import Wanted
from gesso.engine.plan import Needs, Plan, Planning, call_key

# Rough, before anything was measured: of a UNet row, of a decoded picture, of a text.
ROW_SECONDS_PER_PIXEL = 5e-8
PICTURE_SECONDS_PER_PIXEL = 2e-7
TEXT_SECONDS = 0.02


@dataclass(slots=True, eq=False)
class Spent:
    """Seconds of work that a request had part in, and the images in the UNet calls among it."""

    encode: float = 0.0
    denoise: float = 0.0
    decode: float = 0.0
    calls: int = 0
    company: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """`planning` while its plan is being worked out, then `plan`; `needs` are the networks without which that cannot go
    on, since `waiting_since`, `held` from when there is room for them. `has_room`: its images have, among those in
    flight. `images` in flight; `unpainted` of all its images.
    """

    paint: Paint
    wanted: Wanted
    unpainted: int
    arrived_at: float = field(default_factory=time.monotonic)
    begun_at: float | None = None
    planning: Planning | None = None
    needs: Needs | None = None
    waiting_since: float = 0.0
    has_room: bool = False
    held: Held | None = None
    plan: Plan | None = None
    images: list[InFlight] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)

    @property
    def is_waiting(self) -> bool:
        """Whether it needs a network that is not here; raises what that could not be brought for."""
        return self.needs is not None and not (self.held is not None and self.held.is_here)

    @property
    def unadmitted(self) -> int:
        """How many of its images are not in flight yet."""
        return 0 if self.plan else self.unpainted

    def remaining(self, costs: Costs) -> float:
        """Seconds of the engine that it still needs, alone."""
        if self.plan is None:
            return self.total(costs)
        return sum(self._of_image(costs, image.leg_number, image.evaluation) for image in self.images)

    def total(self, costs: Costs) -> float:
        """Seconds of the engine that it takes in all, alone; estimated by its steps until its plan is known."""
        encoding = costs.seconds(encode_key(self.paint), 1)
        if self.plan is not None:
            return encoding + len(self.paint.seeds) * self._of_image(costs, 0, 0)
        share = 1.0 if self.paint.start is None else self.paint.start.strength
        evaluations = self.paint.steps * share * costs.seconds(self.first_call, self.rows)
        return encoding + len(self.paint.seeds) * (evaluations + costs.seconds(decode_key(self.paint), 1))

    @property
    def rows(self) -> int:
        """Rows of a UNet call that one of its images takes."""
        return 2 if is_guided(self.paint.guidance_scale) else 1

    @property
    def first_call(self) -> Hashable:
        """The key of its images' first UNet call."""
        heard = (self.paint.prompt, self.paint.negative_prompt)[: self.rows]
        return call_key(self.wanted.ensembles[0].unet, self.paint, max(len(schedule[0].chunks) for schedule in heard))

    def _of_image(self, costs: Costs, leg_number: int, evaluation: int) -> float:
        """Seconds from this evaluation of this leg to the picture."""
        assert self.plan is not None
        seconds = costs.seconds(decode_key(self.paint), 1)
        for leg in self.plan.legs[leg_number:]:
            left = leg.table.evaluations - evaluation
            if left > 0:
                seconds += left * costs.seconds(leg.batch_key(self.paint, evaluation), leg.rows_of_an_image)
            evaluation = 0
        return seconds

    def timings(self) -> Timings:
        """Where its time went."""
        spent = self.spent
        queue = 0.0 if self.begun_at is None else self.begun_at - self.arrived_at
        company = spent.company / spent.calls if spent.calls else 0.0
        return Timings(queue, spent.encode, spent.denoise, spent.decode, company)


def expect(costs: Costs, request: Request) -> None:
    """Say what a request's work may cost, where nothing like it was measured yet."""
    paint = request.paint
    pixels = paint.width * paint.height
    costs.expect(encode_key(paint), TEXT_SECONDS)
    costs.expect(decode_key(paint), PICTURE_SECONDS_PER_PIXEL * pixels)
    for ensemble in request.wanted.ensembles:
        for chunks in {len(stretch.chunks) for stretch in paint.prompt + paint.negative_prompt}:
            key = call_key(ensemble.unet, paint, chunks)
            costs.alike(key, (ensemble.form, *key[1:]))  # whatever the weights are
            costs.expect(key, ROW_SECONDS_PER_PIXEL * pixels)


def encode_key(paint: Paint) -> Hashable:
    """What encoding costs hangs on."""
    return "encode", paint.checkpoint.text_encoders or paint.checkpoint.unet, paint.start is not None


def decode_key(paint: Paint) -> Hashable:
    """What decoding costs hangs on."""
    return "decode", paint.checkpoint.vae or paint.checkpoint.unet, paint.width, paint.height
