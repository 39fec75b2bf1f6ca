"""Images to rows of UNet calls, and the rows' predictions back to images. Every shape is written here."""

from collections.abc import Sequence

from torch import Tensor

from gesso.diffusion.guidance import combine
from gesso.engine.agreement import Agreement
from gesso.engine.flight import InFlight
from gesso.engine.transfer import column, indices
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
    device = latents.device
    seen = latents * column([image.leg.table.input_scale[image.evaluation] for image in images], device)
    image_of = [number for number, rows in enumerate(rows_of) for _ in rows]

    def call(rows: Sequence[int]) -> Tensor:
        inputs = seen[indices([image_of[row] for row in rows], device)]
        return images[0].leg.unet.predict(inputs, [told[row] for row in rows])

    shape = images[0].leg.unet.form, latents.shape[1:], told[0].context.shape
    predictions = agreement.evaluate(shape, rows_of, call)
    return _guided(predictions, images, rows_of)


def _guided(predictions: Tensor, images: Sequence[InFlight], rows_of: Sequence[range]) -> Tensor:
    """[rows, ...] -> [images, ...]"""
    device = predictions.device
    combined = predictions[indices([rows.start for rows in rows_of], device)]
    guided = [number for number, rows in enumerate(rows_of) if len(rows) == 2]
    if guided:
        unconditional = predictions[indices([rows_of[number].start + 1 for number in guided], device)]
        scales = column([images[number].guidance_scale for number in guided], device)
        places = indices(guided, device)
        combined[places] = combine(combined[places], unconditional, scales)
    return combined
