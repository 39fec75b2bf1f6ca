"""The names of the schedulers, as callers write them; free of torch, so that a request can be refused early.

Text-to-image offers 12 names and img2img 29. Four of the latter are samplers that diffusers has no class for: they are
known, and refused with a sentence of their own. What a name means is known to `gesso.diffusion.schedulers`.
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

NOT_YET_SERVED = frozenset({"DPM++ 2S a", "DPM++ 2S a Karras", "DPM fast", "Restart"})

SERVED = tuple(name for name in dict.fromkeys(TEXT_TO_IMAGE + IMAGE_TO_IMAGE) if name not in NOT_YET_SERVED)


def require_served(name: str) -> None:
    """Raises BadRequest for a name that is unknown, or known and not served yet."""
    if name in NOT_YET_SERVED:
        raise BadRequest(f"the scheduler {name!r} is not served yet; served are: {', '.join(SERVED)}")
    if name not in SERVED:
        raise BadRequest(f"there is no scheduler {name!r}; served are: {', '.join(SERVED)}")
