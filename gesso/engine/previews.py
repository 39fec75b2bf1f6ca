"""What unfinished images look like, and when that is worth saying.

Only reads what a tick has left behind, draws no noise, and makes no call of a network but one of a VAE's encoder before
its first preview; so an image with previews has the bytes of one without.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog
import torch
from torch import Tensor

from gesso.diffusion.denoised import estimate
from gesso.diffusion.schedulers import Diffusion
from gesso.engine.flight import InFlight
from gesso.engine.messages import Pixels, Preview
from gesso.engine.transfer import fetched
from gesso.sdxl.colours import Colours, fit_colours

EVERY = 2
"""Evaluations: there is none after the first, which knows next to nothing, nor after every other one."""

PAUSE = 0.5
"""Seconds between two previews of an image, at least."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Begun:
    """A preview that the device may still be at."""

    id: str
    image: int
    done: int
    pixels: Callable[[], Tensor]

    def preview(self) -> Preview:
        """Waits for the device."""
        pixels = self.pixels()
        height, width, _ = pixels.shape
        return Preview(self.id, self.image, self.done, Pixels(width, height, pixels.numpy().tobytes()))


class Previews:
    """Previews of those images whose requests ask for them; `clock` counts seconds."""

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._clock = clock
        self._colours: dict[str, Colours] = {}
        self._shown: dict[tuple[str, int], float] = {}
        self._begun: list[_Begun] = []

    def after(self, images: Sequence[InFlight]) -> list[Preview]:
        """To be called after every tick, with the images that it stepped; never raises.

        The previews are those begun after the tick before, when the device has long made them. Since none is of an
        image's last evaluation, the image is in flight still, unless its request is over.
        """
        ready = [begun.preview() for begun in self._begun]
        self._begun = list(self._begin(self._due(images)))
        return ready

    def _due(self, images: Sequence[InFlight]) -> list[InFlight]:
        asking = [image for image in images if image.request.previews and _has_estimate(image)]
        if not asking:
            return []
        now = self._clock()
        self._shown = {key: at for key, at in self._shown.items() if now - at < PAUSE}
        due = [image for image in asking if image.done % EVERY == 0 and _key(image) not in self._shown]
        self._shown |= {_key(image): now for image in due}
        return due

    def _begin(self, images: Sequence[InFlight]) -> Iterator[_Begun]:
        for image in images:
            try:
                pixels = self._colours_of(image).preview(_estimate(image))
                yield _Begun(image.request.id, image.index, image.done, fetched(pixels))
            except Exception as error:  # nobody loses a picture for the sake of its preview
                log.error("preview failed", request_id=image.request.id, exc_info=error)

    def _colours_of(self, image: InFlight) -> Colours:
        files = image.request.checkpoint
        path = files.vae or files.unet
        if path not in self._colours:
            self._colours[path] = fit_colours(image.vae, self._device)
        return self._colours[path]


def _has_estimate(image: InFlight) -> bool:
    """It is not over, and its present leg has evaluated something."""
    return not image.over and image.evaluation > 0


def _estimate(image: InFlight) -> Tensor:
    """The clean latent [channels, h, w] by the last evaluation, which saw the newest latent but one."""
    leg, evaluation = image.leg, image.evaluation - 1
    seen = image.slab.latents[image.slot, 1] * float(leg.table.input_scale[evaluation])
    prediction = image.slab.predictions[image.slot, 0]
    diffusion = Diffusion(leg.unet.prediction_type, leg.unet.zero_terminal_snr)
    return estimate(seen, prediction, float(leg.table.timesteps[evaluation]), diffusion)


def _key(image: InFlight) -> tuple[str, int]:
    return image.request.id, image.index
