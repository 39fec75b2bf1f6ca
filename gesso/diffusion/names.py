"""The names of the schedulers, as callers write them; free of torch, so that a request can be refused early.

Text-to-image offers 12 names and img2img 29. What a name means is known to `gesso.diffusion.schedulers`, and to
`gesso.diffusion.samplers` where diffusers has no class for it.
"""

from gesso.errors import BadRequest

TEXT_TO_IMAGE = (
    "DDIM",
    "DPM Multi",
    "DPM Single",
    "Euler a",
    "Euler",
    "Heun",
    "DPM2 a Karras",
    "DPM2 Karras",
    "LMS",
    "PNDM",
    "DDPM",
    "UniPC",
)

IMAGE_TO_IMAGE = (
    "UniPC",
    "DPM++ SDE Karras",
    "DPM++ 2M Karras",
    "DPM++ 2M SDE Karras",
    "DPM++ 2M SDE Heun Karras",
    "DPM++ 3M SDE Karras",
    "LMS Karras",
    "DPM2 Karras",
    "DPM2 a Karras",
    "DPM++ 2S a Karras",
    "DPM++ 2M SDE Exponential",
    "DPM++ 2M SDE Heun Exponential",
    "DPM++ 3M SDE Exponential",
    "Euler a",
    "Euler",
    "LMS",
    "Heun",
    "DPM2",
    "DPM2 a",
    "DPM++ 2S a",
    "DPM++ 2M",
    "DPM++ SDE",
    "DPM++ 2M SDE",
    "DPM++ 2M SDE Heun",
    "DPM++ 3M SDE",
    "DPM fast",
    "Restart",
    "DDIM",
    "PLMS",
)

SERVED = tuple(dict.fromkeys(TEXT_TO_IMAGE + IMAGE_TO_IMAGE))


def require_served(name: str) -> None:
    """Raises BadRequest for any other name."""
    if name not in SERVED:
        raise BadRequest(f"there is no scheduler {name!r}; served are: {', '.join(SERVED)}")
