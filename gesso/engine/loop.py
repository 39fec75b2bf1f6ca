"""The running batch: choose what is shortest, do one unit of it, go on. Images join and leave at any step.

A request first waits for the networks that it needs, while others go on. A unit of work is a slice of a request's
encoding, one UNet call for images that can share it, or one decoding: nobody waits for longer than one of them takes
before somebody is chosen again.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import structlog
import torch
from torch import Tensor

from gesso.diffusion.noise import NoiseSource
from gesso.engine.choose import Candidate, Chooser, Work
from gesso.engine.costs import Costs
from gesso.engine.flight import InFlight
from gesso.engine.memory import free_memory, is_out_of_memory
from gesso.engine.messages import (
    Admitted,
    Batch,
    Event,
    Failed,
    Finished,
    Loading,
    Memory,
    Paint,
    Painted,
    Pixels,
    Progress,
    Stage,
)
from gesso.engine.models import Models
from gesso.engine.plan import Plan, abandon, foreseen, plan, wanted
from gesso.engine.previews import Previews
from gesso.engine.request import Request, decode_key, encode_key, expect
from gesso.engine.slots import Slab
from gesso.engine.stopwatch import Stopwatch
from gesso.engine.tick import Ticks
from gesso.errors import BadRequest, GessoError, PaintingFailed, ServiceUnavailable

IMAGES = 64
"""In flight at once; only a request that has more by itself may exceed it."""

ROWS_AT_ONCE = 16
SLOTS = 8
SLICE = 0.02
"""Seconds after which a request's encoding gives way to other work."""

PATIENCE = 60.0
"""Seconds after which a request that still waits for a checkpoint is told so, and given up; the loading goes on."""

NAP = 0.05
"""Seconds without a look at what has come in, while all requests wait."""

ATTEMPTS = 2
"""How often an image's own call or decoding is tried when memory does not suffice for it."""

log = structlog.get_logger()


class Loop:
    """One engine's batch. `emit` hears every event; what a request does wrong ends that request only. `patience` in
    seconds."""

    def __init__(self, models: Models, emit: Callable[[Event], None], patience: float = PATIENCE) -> None:
        self._models = models
        self._emit = emit
        self._patience = patience
        self._requests: dict[str, Request] = {}
        self._flight: list[InFlight] = []
        self._slabs: dict[tuple[int, int, int], Slab] = {}
        self._ticks = Ticks(models.device)
        self._previews = Previews(models.device)
        self._costs = Costs(ROWS_AT_ONCE)
        self._chooser = Chooser()
        self._stopwatch = Stopwatch(models.device)
        self.ticks = 0
        self.rows = 0
        self.stage: Stage = "idle"
        self.stages = 0

    @property
    def images(self) -> int:
        """Images in flight."""
        return len(self._flight)

    @property
    def waiting(self) -> int:
        """Images not admitted yet."""
        return sum(request.unadmitted for request in tuple(self._requests.values()))

    @property
    def batches(self) -> tuple[Batch, ...]:
        """What the images in flight are; may be asked from another thread, as all that a heartbeat says."""
        kinds = Counter((one.leg.checkpoint, one.request.width, one.request.height) for one in tuple(self._flight))
        return tuple(Batch(*kind, images) for kind, images in kinds.items())

    @property
    def loads(self) -> int:
        """How many networks have come from the disk."""
        return self._models.loads

    @property
    def loading(self) -> tuple[Loading, ...]:
        """What comes from the disk."""
        return self._models.loading

    @property
    def memory(self) -> tuple[Memory, ...]:
        """How full it is."""
        return self._models.memory

    @property
    def idle(self) -> bool:
        """There is nothing to do."""
        return not self._requests

    def submit(self, paint: Paint) -> None:
        """Take a request; it is begun when it is its turn, and what it will need is brought meanwhile."""
        try:
            names = wanted(paint, self._models)
            before = [one.wanted for one in self._requests.values()]
            keep = {name for one in before for name in (*one.encoders, *one.painters)}
            self._models.prefetch(foreseen(paint, names, self._models), names, keep)
        except GessoError as error:
            self._say(paint.id, error)
            return
        request = Request(paint, names, len(paint.seeds))
        expect(self._costs, request)
        self._requests[paint.id] = request

    def cancel(self, request_id: str) -> None:
        """Drop a request; nothing more is said of it."""
        if (request := self._requests.get(request_id)) is not None:
            self._drop(request)

    @torch.inference_mode()
    def turn(self) -> None:
        """One unit of work."""
        self._stopwatch.tell()
        self._fail_what_is_no_number()
        self._bring_networks()
        encodable = self._encodable()
        candidates = self._candidates(encodable)
        chosen = self._chooser.choose(candidates, self._costs)
        if not chosen:
            if self._requests:
                self._models.wait(NAP)
            return
        if candidates[chosen[0]].work == "encode":
            self._encode(encodable[chosen[0]])
            return
        images = [self._flight[position - len(encodable)] for position in chosen]
        if candidates[chosen[0]].work == "decode":
            self._decode(images[0])
        else:
            self._denoise(images)

    def _bring_networks(self) -> None:
        """In the order of requests: where there is no room for one's, none behind it takes any."""
        self._models.settle()
        room = True
        for request in [request for request in self._requests.values() if request.needs is not None]:
            try:
                room = room and self._hold(request)
                if request.is_waiting and time.monotonic() - request.waiting_since > self._patience:
                    raise self._models.how_far(request.held, request.wanted.checkpoint)
            except Exception as error:
                self._fail(request, error)

    def _encodable(self) -> list[Request]:
        """Requests without a plan that need no network which is not here, and whose images would have room."""
        planless = [one for one in self._requests.values() if one.plan is None and not one.is_waiting]
        room = IMAGES - len(self._flight) - sum(request.unadmitted for request in planless if request.has_room)
        return [one for one in planless if one.has_room or one.unadmitted <= room or room == IMAGES]

    def _candidates(self, encodable: Sequence[Request]) -> list[Candidate]:
        """What could be done next: requests to encode, then the images in flight, in their order."""
        now = time.monotonic()
        needs = {one.paint.id: (one.remaining(self._costs), one.total(self._costs)) for one in self._requests.values()}

        def candidate(work: Work, key: Hashable, rows: int, paint: Paint) -> Candidate:
            remaining, total = needs[paint.id]
            waited = now - self._requests[paint.id].arrived_at
            return Candidate(work, key, paint.account, rows, remaining, total, waited)

        return [candidate("encode", request.first_call, request.rows, request.paint) for request in encodable] + [
            candidate("decode", decode_key(image.request), 1, image.request)
            if image.over
            else candidate("denoise", image.batch_key, image.rows, image.request)
            for image in self._flight
        ]

    def _encode(self, request: Request) -> None:
        """A slice of the request's plan; when it is complete, its images take off."""
        self._enter("preparing")
        if request.planning is None:
            request.planning = plan(request.paint, request.wanted, self._models)
            request.begun_at = time.monotonic()
        try:
            with self._stopwatch.timing(lambda seconds: self._note_encoding(request, seconds)):
                done = self._worked_on(request)
            if done:
                self._admit(request)
        except Exception as error:
            self._fail(request, error)
        self._enter("idle")

    def _worked_on(self, request: Request) -> bool:
        """Whether the plan is complete, after a slice of work on it."""
        assert request.planning is not None
        until = time.monotonic() + SLICE
        request.has_room = True
        try:
            while request.needs is None or self._is_at_hand(request):
                held, request.held = request.held, None
                request.needs = request.planning.send(held)
                if request.needs is None and time.monotonic() > until:
                    return False
        except StopIteration as complete:
            request.plan, request.needs = complete.value, None
            return True
        request.waiting_since, request.has_room = time.monotonic(), False  # whoever waits keeps nobody from beginning
        return False

    def _is_at_hand(self, request: Request) -> bool:
        """Whether a request has what it needs, or can at once, and nobody else waits for room."""
        others = (one for one in self._requests.values() if one is not request)
        if not any(one.needs is not None and one.held is None for one in others):
            self._hold(request)
        return not request.is_waiting

    def _hold(self, request: Request) -> bool:
        """Whether there is room for what it needs, which is its own then."""
        if request.held is None:
            request.held = self._models.hold(request.needs or (), request.wanted)
        return request.held is not None

    def _admit(self, request: Request) -> None:
        """Its images begin."""
        assert request.plan is not None
        self._emit(Admitted(request.paint.id))
        self._costs.measured(encode_key(request.paint), 1, request.spent.encode)
        for index, seed in enumerate(request.paint.seeds):
            slab = self._slab(request.plan.latent_shape)
            source = NoiseSource(seed)
            image = InFlight(request.paint, index, request.plan.legs, request.plan.vae, slab, slab.take(), source)
            request.images.append(image)
            self._flight.append(image)
            image.begin(self._start(request.plan, source))

    def _start(self, plan: Plan, source: NoiseSource) -> Tensor:
        """An image's clean latent: drawn from the start image's posterior, or zeros."""
        if plan.posterior is None:
            return torch.zeros(plan.latent_shape, device=self._models.device)
        drawn = plan.posterior.mean + plan.posterior.deviation * source.draw((1, *plan.latent_shape))
        return (drawn * plan.posterior.scale)[0].to(self._models.device)

    def _slab(self, shape: tuple[int, int, int]) -> Slab:
        if shape not in self._slabs:
            self._slabs = {kept: slab for kept, slab in self._slabs.items() if not slab.is_empty}
            self._slabs[shape] = Slab(shape, SLOTS, self._models.device)
        return self._slabs[shape]

    def _denoise(self, images: Sequence[InFlight]) -> None:
        """One UNet call for all of them."""
        self._enter("denoising")
        key, rows, unet = images[0].batch_key, sum(image.rows for image in images), images[0].leg.unet
        prepared, is_ordinary = self._ticks.preparations(unet), False

        def note(seconds: float) -> None:
            if is_ordinary:
                self._costs.measured(key, rows, seconds)
            self._note_denoising(images, rows, seconds)

        try:
            with self._stopwatch.timing(note):
                self._ticks.step(images)
                is_ordinary = self._ticks.preparations(unet) == prepared
        except Exception as error:
            self._denoise_apart(images, error)
            return
        self.ticks += 1
        self.rows += rows
        for image in images:
            self._emit(Progress(image.request.id, image.index, image.done, image.due))
        for preview in self._previews.after(images):
            if preview.id in self._requests:
                self._emit(preview)
        self._enter("idle")

    def _denoise_apart(self, images: Sequence[InFlight], error: Exception) -> None:
        """Nobody fails for another's sake; where memory does not suffice, calls are half as large from now on."""
        if is_out_of_memory(error):
            free_memory()
            self._costs.halve(images[0].batch_key, sum(image.rows for image in images))
        if len(images) == 1:
            self._retry_or_fail(images[0], error)
        elif not is_out_of_memory(error):
            for image in images:
                if image in self._flight:  # and has not failed with another image of its request
                    self._denoise([image])

    def _retry_or_fail(self, image: InFlight, error: Exception) -> None:
        image.failures += 1
        if not is_out_of_memory(error) or image.failures >= ATTEMPTS:
            self._fail(self._requests[image.request.id], error)

    def _fail_what_is_no_number(self) -> None:
        for image, evaluation in self._ticks.broken():
            if image in self._flight:
                sentence = f"the image became numbers that are no numbers (NaN or infinity) at evaluation {evaluation}"
                self._fail(self._requests[image.request.id], PaintingFailed(sentence))

    def _decode(self, image: InFlight) -> None:
        self._enter("decoding")
        request = self._requests[image.request.id]
        try:
            with self._stopwatch.timing(lambda seconds: self._note_decoding(request, seconds)):
                pixels = self._pixels(image)
        except Exception as error:
            free_memory()
            self._retry_or_fail(image, error)
            return
        self._emit(Painted(image.request.id, image.index, pixels))
        self._leave(image)
        request.images.remove(image)
        request.unpainted -= 1
        if not request.unpainted:
            assert request.begun_at is not None
            self._stopwatch.tell()
            self._emit(Finished(request.paint.id, time.monotonic() - request.begun_at, request.timings()))
            self._drop(request)
        self._enter("idle")

    def _pixels(self, image: InFlight) -> Pixels:
        width, height = image.request.width, image.request.height
        return Pixels(width, height, image.vae.decode(image.latent, width, height))

    def _fail(self, request: Request, error: Exception) -> None:
        self._drop(request)
        self._say(request.paint.id, error)

    def _say(self, name: str, error: Exception) -> None:
        """What became of a request that ends without its pictures."""
        match error:
            case ServiceUnavailable():
                self._emit(Failed(name, "unavailable", error.sentence, error.retry_after))
            case BadRequest():
                self._emit(Failed(name, "refused", error.sentence))
            case GessoError():
                self._emit(Failed(name, "failed", error.sentence))
            case _ if is_out_of_memory(error):
                self._emit(Failed(name, "failed", "the engine has not enough memory to paint this, even by itself"))
            case _:
                self._emit(Failed(name, "failed", f"the engine could not paint this: {type(error).__name__}"))
                log.error("request failed", request_id=name, exc_info=error)

    def _drop(self, request: Request) -> None:
        """Give back all that it holds."""
        del self._requests[request.paint.id]
        for image in request.images:
            self._leave(image)
        if request.planning is not None:
            request.planning.close()
        if request.plan is not None:
            abandon(request.plan, self._models)
        if request.held is not None:
            self._models.let_go(request.held)

    def _leave(self, image: InFlight) -> None:
        self._flight.remove(image)
        image.slab.give_back(image.slot)

    def _note_encoding(self, request: Request, seconds: float) -> None:
        request.spent.encode += seconds
        self._chooser.served(request.paint.account, seconds, request.paint.share)

    def _note_denoising(self, images: Sequence[InFlight], rows: int, seconds: float) -> None:
        """What a call took is shared between the accounts by rows, and is part of every request that it served."""
        for image in images:
            self._chooser.served(image.request.account, seconds * image.rows / rows, image.request.share)
        for request in {self._requests[image.request.id] for image in images if image.request.id in self._requests}:
            request.spent.denoise += seconds
            request.spent.calls += 1
            request.spent.company += len(images)

    def _note_decoding(self, request: Request, seconds: float) -> None:
        self._costs.measured(decode_key(request.paint), 1, seconds)
        request.spent.decode += seconds
        self._chooser.served(request.paint.account, seconds, request.paint.share)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.stages += 1
