"""A tick: one UNet call and one update for images that share it. The hot path; the host never waits for the device."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.diffusion.update import advance
from gesso.engine.agreement import Agreement
from gesso.engine.flight import InFlight
from gesso.engine.rows import predict
from gesso.engine.transfer import fetched, indices, moved
from gesso.sdxl.unet import Unet


@dataclass(frozen=True, slots=True)
class _Stepped:
    """An image at its place of a tick, and how many evaluations it then had behind it."""

    place: int
    image: InFlight
    evaluation: int


class Ticks:
    """Steps images, and knows a tick later which of them had become no numbers."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._agreement = Agreement()
        self._flags: deque[tuple[list[_Stepped], Callable[[], Tensor]]] = deque()

    def preparations(self, unet: Unet) -> int:
        """How many calls so far took longer than such calls will: made twice to compare sizes, or to be recorded."""
        return self._agreement.comparisons + unet.call.prepared

    def step(self, images: Sequence[InFlight]) -> None:
        """One evaluation of each image, which have one batch key. Where it raises, nothing has changed."""
        slab = images[0].slab
        slots = indices([image.slot for image in images], self._device)
        predictions = predict(images, slab.latents[slots, 0], self._agreement)
        slab.push_predictions(slots, predictions)
        latents = advance(
            slab.latents[slots],
            slab.predictions[slots],
            torch.stack([image.leg.latents[image.evaluation] for image in images]),
            torch.stack([image.leg.predictions[image.evaluation] for image in images]),
            torch.stack([image.leg.noise[image.evaluation] for image in images]),
            self._noise(images),
        )
        slab.push(slots, latents)
        finite = latents.isfinite().flatten(1).all(dim=1)
        for image in images:
            image.advance()
        # An image that is over is seen by its decoding. (Nor may a flag keep its networks from leaving.)
        stepped = [_Stepped(place, image, image.done) for place, image in enumerate(images) if not image.over]
        if stepped:
            self._flags.append((stepped, fetched(finite)))

    def broken(self) -> list[tuple[InFlight, int]]:
        """Images whose latents were no numbers after a tick before the last one, and after which evaluation.

        Of the last one a GPU may not know yet.
        """
        found: list[tuple[InFlight, int]] = []
        while len(self._flags) > 1:
            stepped, finite = self._flags.popleft()
            fine = finite().tolist()
            found += [(one.image, one.evaluation) for one in stepped if not fine[one.place]]
        return found

    def _noise(self, images: Sequence[InFlight]) -> Tensor:
        """[images, channels, h, w] float32, zeros where an image takes none."""
        shape = (len(images), *images[0].latent.shape)
        drawn = [image.step_noise() for image in images]
        if all(noise is None for noise in drawn):
            return torch.zeros(shape, device=self._device)
        noises = torch.zeros(shape)
        for place, noise in zip(noises, drawn, strict=True):
            if noise is not None:
                place.copy_(noise)
        return moved(noises, self._device)
