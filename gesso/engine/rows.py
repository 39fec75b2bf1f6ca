"""Images to rows of UNet calls, and the rows' predictions back to images. Every shape is written here."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gesso.diffusion.guidance import combine
from gesso.engine.agreement import Agreement
from gesso.engine.flight import InFlight


def predict(images: Sequence[InFlight], latents: Tensor, agreement: Agreement) -> Tensor:
    """Each image's prediction, guidance applied: [images, channels, h, w] float32, as `latents`.

    The images share a batch key. Rows: every image's conditional one, then the unconditional ones of the guided.
    """
    guided = [index for index, image in enumerate(images) if image.leg.unconditional]
    told = [image.leg.conditional[image.evaluation] for image in images]
    told += [images[index].leg.unconditional[images[index].evaluation] for index in guided]
    seen = latents * _column([image.leg.table.input_scale[image.evaluation] for image in images], latents)
    inputs = seen[[*range(len(images)), *guided]]

    def call(rows: Sequence[int]) -> Tensor:
        return images[0].leg.unet.predict(inputs[list(rows)], [told[row] for row in rows])

    rows = agreement.evaluate(images[0].batch_key, len(told), call)
    predictions = rows[: len(images)].clone()
    scales = _column([images[index].guidance_scale for index in guided], latents)
    predictions[guided] = combine(predictions[guided], rows[len(images) :], scales)
    return predictions


def _column(numbers: Sequence[float], like: Tensor) -> Tensor:
    """[images, 1, 1, 1] float32."""
    return torch.tensor(numbers, dtype=torch.float32, device=like.device).view(-1, 1, 1, 1)
