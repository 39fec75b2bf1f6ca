"""One step of any scheduler for a batch of images, given each image's row of its `SolverTable`."""

import torch


def advance(
    latents_window: torch.Tensor,
    predictions_window: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    s: torch.Tensor,
    z: torch.Tensor,
) -> torch.Tensor:
    """The next latents [images, channels, height, width], float32.

    latents_window, predictions_window: [images, 4, channels, height, width], newest first, finite also where unused.
    a, b: [images, 4]; s: [images]; z: [images, channels, height, width].

    Products and sums are separate elementwise operations in a fixed order, each rounded as IEEE 754 says: an image's
    bits depend on nothing beside it. (A matrix product or a fused multiply-add may round by position.)
    """
    shape = (-1, *[1] * (z.ndim - 1))
    total = s.view(shape) * z
    for back in range(latents_window.shape[1]):
        total = total + a[:, back].view(shape) * latents_window[:, back]
        total = total + b[:, back].view(shape) * predictions_window[:, back]
    return total
