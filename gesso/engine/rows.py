"""Images to rows of one UNet call, and the rows' predictions back to images. Every shape is written here."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gesso.diffusion.guidance import combine
from gesso.engine.flight import InFlight


def predict(images: Sequence[InFlight], latents: Tensor) -> Tensor:
    """Each image's prediction, guidance applied: [images, channels, h, w] float32, as `latents`.

    The images share a batch key. Rows: every image's conditional one, then the unconditional ones of the guided.
    """
    guided = [index for index, image in enumerate(images) if image.leg.unconditional]
    told = [image.leg.conditional[image.evaluation] for image in images]
    told += [images[index].leg.unconditional[images[index].evaluation] for index in guided]
    of_image = [*range(len(images)), *guided]
    scale = torch.tensor([image.leg.table.input_scale[image.evaluation] for image in images], dtype=torch.float32)
    timesteps = torch.tensor([images[i].leg.table.timesteps[images[i].evaluation] for i in of_image])
    rows = images[0].leg.unet.predict(
        (latents * scale.to(latents.device)[:, None, None, None])[of_image],
        timesteps.float().to(latents.device),
        [row.conditioning for row in told],
        torch.tensor([row.size_ids for row in told], dtype=torch.float32, device=latents.device),
    )
    predictions = rows[: len(images)].clone()
    for row, index in enumerate(guided, start=len(images)):
        predictions[index] = combine(rows[index], rows[row], images[index].guidance_scale)
    return predictions
