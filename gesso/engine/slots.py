"""Where images in flight live: preallocated latents and predictions, by slot; twice as many when they are all taken."""

import torch
from torch import Tensor

WINDOW = 4


class Slab:
    """Slots for images of one latent shape.

    `latents` and `predictions`: [slots, 4, channels, h, w] float32, newest first.
    """

    def __init__(self, shape: tuple[int, int, int], slots: int, device: torch.device) -> None:
        self.latents = torch.zeros(slots, WINDOW, *shape, device=device)
        self.predictions = torch.zeros_like(self.latents)
        self._free = list(reversed(range(slots)))

    @property
    def is_empty(self) -> bool:
        """No slot is taken."""
        return len(self._free) == len(self.latents)

    def take(self) -> int:
        """A free slot. It is zeroed: 0 · NaN is NaN, so what its last image left could poison the next."""
        if not self._free:
            self._double()
        slot = self._free.pop()
        self.latents[slot] = 0
        self.predictions[slot] = 0
        return slot

    def _double(self) -> None:
        slots = len(self.latents)
        self.latents = torch.cat([self.latents, torch.zeros_like(self.latents)])
        self.predictions = torch.cat([self.predictions, torch.zeros_like(self.predictions)])
        self._free = list(reversed(range(slots, 2 * slots)))

    def give_back(self, slot: int) -> None:
        """Free a slot."""
        assert slot not in self._free
        self._free.append(slot)

    def begin(self, slot: int, latent: Tensor) -> None:
        """Start a run at `latent` [channels, h, w], with no history."""
        self.latents[slot] = 0
        self.predictions[slot] = 0
        self.latents[slot, 0] = latent

    def push(self, slots: Tensor, latents: Tensor) -> None:
        """Make `latents` [images, channels, h, w] the newest of `slots`."""
        self.latents[slots] = torch.cat([latents[:, None], self.latents[slots, : WINDOW - 1]], dim=1)

    def push_predictions(self, slots: Tensor, predictions: Tensor) -> None:
        """Make `predictions` [images, channels, h, w] the newest of `slots`."""
        self.predictions[slots] = torch.cat([predictions[:, None], self.predictions[slots, : WINDOW - 1]], dim=1)
