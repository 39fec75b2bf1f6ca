"""The running batch: admit, choose, step, retire. Images join and leave at any step."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import torch

from gesso.diffusion.noise import NoiseSource
from gesso.diffusion.update import advance
from gesso.engine.agreement import Agreement
from gesso.engine.choose import Candidate, choose
from gesso.engine.flight import InFlight
from gesso.engine.messages import (
    Admitted,
    Batch,
    Event,
    Failed,
    Finished,
    Paint,
    Painted,
    Pixels,
    Progress,
    Stage,
    Timings,
)
from gesso.engine.models import Models
from gesso.engine.plan import Leg, abandon, plan
from gesso.engine.rows import predict
from gesso.engine.slots import Slab
from gesso.errors import BadRequest, GessoError, ServiceUnavailable

SLOTS = 16
ROWS_AT_ONCE = 16

log = structlog.get_logger()


@dataclass(slots=True)
class _Running:
    """A request between its first image's admission and its last one's retirement."""

    request: Paint
    legs: tuple[Leg, ...]
    admitted_at: float
    unadmitted: deque[int]
    unpainted: int


class Loop:
    """One engine's batch. `emit` hears every event; what a request does wrong ends that request only."""

    def __init__(self, models: Models, emit: Callable[[Event], None]) -> None:
        self._models = models
        self._emit = emit
        self._waiting: deque[Paint] = deque()
        self._running: dict[str, _Running] = {}
        self._flight: list[InFlight] = []
        self._slabs: dict[tuple[int, int, int], Slab] = {}
        self._agreement = Agreement()
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
        begun = sum(len(running.unadmitted) for running in tuple(self._running.values()))
        return begun + sum(len(request.seeds) for request in tuple(self._waiting))

    @property
    def batches(self) -> tuple[Batch, ...]:
        """What the images in flight are; may be asked from another thread, as all that a heartbeat says."""
        kinds = Counter((one.leg.files.id, one.request.width, one.request.height) for one in tuple(self._flight))
        return tuple(Batch(*kind, images) for kind, images in kinds.items())

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.stages += 1

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not (self._waiting or self._running)

    def submit(self, request: Paint) -> None:
        """Take a request; it is admitted when there is room."""
        self._waiting.append(request)

    def cancel(self, request_id: str) -> None:
        """Drop a request; nothing more is said of it."""
        self._waiting = deque(request for request in self._waiting if request.id != request_id)
        self._drop(request_id)

    @torch.inference_mode()
    def turn(self) -> None:
        """Admit one image, step one batch, retire what is done."""
        self._enter("preparing")
        self._admit()
        self._enter("denoising")
        self._step()
        self._enter("idle")

    def _admit(self) -> None:
        request = self._next_to_admit()
        if request is None:
            return
        try:
            self._admit_image(request)
        except Exception as error:
            self._fail(request, error)

    def _next_to_admit(self) -> Paint | None:
        if len(self._flight) >= SLOTS:
            return None
        begun = next((running.request for running in self._running.values() if running.unadmitted), None)
        return begun or (self._waiting.popleft() if self._waiting else None)

    def _admit_image(self, request: Paint) -> None:
        running = self._running.get(request.id) or self._begin(request)
        with self._models.vae(request.checkpoint) as vae:
            shape = vae.latent_shape(request.width, request.height)
            index = running.unadmitted.popleft()
            source = NoiseSource(request.seeds[index])
            latent = torch.zeros(shape, device=self._models.device)
            if request.start is not None:
                pixels = request.start.pixels
                posterior = vae.encode(pixels.rgb, pixels.width, pixels.height)
                drawn = posterior.mean + posterior.deviation * source.draw((1, *shape))
                latent = vae.scaled(drawn)[0].to(self._models.device)
        slab = self._slab(shape)
        slot = slab.take()
        assert slot is not None
        image = InFlight(request, index, running.legs, slab, slot, source)
        self._flight.append(image)
        image.begin(latent)
        if image.settle():
            self._retire(image)

    def _begin(self, request: Paint) -> _Running:
        indices = deque(range(len(request.seeds)))
        legs = plan(request, self._models)
        running = _Running(request, legs, time.monotonic(), indices, len(indices))
        self._running[request.id] = running
        self._emit(Admitted(request.id))
        return running

    def _slab(self, shape: tuple[int, int, int]) -> Slab:
        if shape not in self._slabs:
            self._slabs = {kept: slab for kept, slab in self._slabs.items() if not slab.is_empty}
            self._slabs[shape] = Slab(shape, SLOTS, self._models.device)
        return self._slabs[shape]

    def _step(self) -> None:
        candidates = [Candidate(image.batch_key, image.rows) for image in self._flight]
        batch = [self._flight[position] for position in choose(candidates, ROWS_AT_ONCE)]
        if not batch:
            return
        try:
            self._evaluate(batch)
        except Exception as error:
            for request in {image.request.id: image.request for image in batch}.values():
                self._fail(request, error)
            return
        for image in batch:
            self._pass_on(image)

    def _pass_on(self, image: InFlight) -> None:
        """Count an image's step, and retire it after its last."""
        if image.request.id not in self._running:  # another image of its request has just failed
            return
        over = image.advance()
        self._emit(Progress(image.request.id, image.index, image.done, image.due))
        if over:
            self._retire(image)

    def _evaluate(self, batch: list[InFlight]) -> None:
        """One UNet call and one update for the whole batch."""
        slab = batch[0].slab
        slots = torch.tensor([image.slot for image in batch], device=self._models.device)
        slab.push_predictions(slots, predict(batch, slab.latents[slots, 0], self._agreement))
        noise = torch.stack([image.step_noise() for image in batch]).to(self._models.device)
        latents = advance(
            slab.latents[slots],
            slab.predictions[slots],
            torch.stack([image.leg.latents[image.evaluation] for image in batch]),
            torch.stack([image.leg.predictions[image.evaluation] for image in batch]),
            torch.stack([image.leg.noise[image.evaluation] for image in batch]),
            noise,
        )
        slab.push(slots, latents)
        self.ticks += 1
        self.rows += sum(image.rows for image in batch)

    def _retire(self, image: InFlight) -> None:
        request = image.request
        try:
            pixels = self._decode(image)
        except Exception as error:
            self._fail(request, error)
            return
        self._leave(image)
        self._emit(Painted(request.id, image.index, pixels))
        running = self._running[request.id]
        running.unpainted -= 1
        if not running.unpainted:
            seconds = time.monotonic() - running.admitted_at
            self._emit(Finished(request.id, seconds, Timings(0.0, 0.0, seconds, 0.0, company=1.0)))
            self._drop(request.id)

    def _decode(self, image: InFlight) -> Pixels:
        self._enter("decoding")
        width, height = image.request.width, image.request.height
        with self._models.vae(image.request.checkpoint) as vae:
            return Pixels(width, height, vae.decode(image.latent, width, height))

    def _fail(self, request: Paint, error: Exception) -> None:
        self._drop(request.id)
        match error:
            case ServiceUnavailable():
                self._emit(Failed(request.id, "unavailable", error.sentence))
            case BadRequest():
                self._emit(Failed(request.id, "refused", error.sentence))
            case GessoError():
                self._emit(Failed(request.id, "failed", error.sentence))
            case _:
                self._emit(Failed(request.id, "failed", f"the engine could not paint this: {type(error).__name__}"))
                log.error("request failed", request_id=request.id, exc_info=error)

    def _drop(self, request_id: str) -> None:
        for image in [image for image in self._flight if image.request.id == request_id]:
            self._leave(image)
        if (running := self._running.pop(request_id, None)) is not None:
            abandon(running.legs, self._models)

    def _leave(self, image: InFlight) -> None:
        self._flight.remove(image)
        image.slab.give_back(image.slot)
