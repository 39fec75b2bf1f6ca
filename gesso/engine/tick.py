"""A tick: one UNet call and one update for images that share it. The hot path; the host never waits for the device."""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gesso.diffusion.update import advance
from gesso.engine.agreement import Agreement
from gesso.engine.flight import InFlight
from gesso.engine.rows import predict
from gesso.engine.transfer import fetched, indices, moved


class Ticks:
    """Steps images, and knows a tick later which of them had become no numbers."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._agreement = Agreement()
        self._flags: deque[tuple[Sequence[InFlight], Callable[[], Tensor]]] = deque()

    @property
    def comparisons(self) -> int:
        """How many calls so far were made twice, to compare sizes."""
        return self._agreement.comparisons

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
        self._flags.append((images, fetched(finite)))
        for image in images:
            image.advance()

    def broken(self) -> list[InFlight]:
        """Images whose latents were no numbers after the last tick but one: of the last one a GPU may not know yet.

        (An image has no ticks after its last, and its decoding sees for itself.)
        """
        found: list[InFlight] = []
        while len(self._flags) > 1:
            images, finite = self._flags.popleft()
            found += [image for image, fine in zip(images, finite().tolist(), strict=True) if not fine]
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
