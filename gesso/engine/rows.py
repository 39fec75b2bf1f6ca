"""Images to rows of UNet calls, and the rows' predictions back to images. Every shape is written here."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gesso.diffusion.guidance import combine
from gesso.engine.agreement import Agreement
from gesso.engine.flight import InFlight
from gesso.sdxl.unet import Told


def predict(images: Sequence[InFlight], latents: Tensor, agreement: Agreement) -> Tensor:
    """Each image's prediction, guidance applied: [images, channels, h, w] float32, as `latents`.

    The images share a batch key. Rows: of every image the conditional one, and behind it the unconditional one of the
    guided.
    """
    told: list[Told] = []
    rows_of: list[range] = []
    for image in images:
        told_image = image.leg.rows(image.evaluation)
        rows_of.append(range(len(told), len(told) + len(told_image)))
        told += told_image
    seen = latents * _column([image.leg.table.input_scale[image.evaluation] for image in images], latents)
    inputs = seen[[number for number, rows in enumerate(rows_of) for _ in rows]]

    def call(rows: Sequence[int]) -> Tensor:
        return images[0].leg.unet.predict(inputs[list(rows)], [told[row] for row in rows])

    shape = images[0].leg.unet.form, latents.shape[1:], told[0].context.shape
    predictions = agreement.evaluate(shape, rows_of, call)
    return _guided(predictions, images, rows_of)


def _guided(predictions: Tensor, images: Sequence[InFlight], rows_of: Sequence[range]) -> Tensor:
    """[rows, ...] -> [images, ...]"""
    combined = predictions[[rows.start for rows in rows_of]]
    guided = [number for number, rows in enumerate(rows_of) if len(rows) == 2]
    unconditional = predictions[[rows_of[number].start + 1 for number in guided]]
    scales = _column([images[number].guidance_scale for number in guided], predictions)
    combined[guided] = combine(combined[guided], unconditional, scales)
    return combined


def _column(numbers: Sequence[float], like: Tensor) -> Tensor:
    """[numbers, 1, 1, 1] float32."""
    return torch.tensor(numbers, dtype=torch.float32, device=like.device).view(-1, 1, 1, 1)
