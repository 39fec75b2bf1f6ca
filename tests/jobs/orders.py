"""Orders for the tests of jobs: of the shipped catalogue, or made by hand where the words do not matter."""

from gesso.engine.messages import CheckpointFiles, Paint
from gesso.jobs.order import Order


def an_order(request_id: str, *, samples: int = 1, cost_micro: int = 1_000_000, scheduler: str = "UniPC") -> Order:
    """A small picture of nothing in particular, at a credit a request."""
    paint = Paint(
        id=request_id,
        checkpoint=CheckpointFiles("model", "model.safetensors"),
        prompt=(),
        negative_prompt=(),
        scheduler=scheduler,
        steps=20,
        guidance_scale=7.5,
        width=16,
        height=8,
        seeds=tuple(range(7, 7 + samples)),
    )
    return Order(paint, "sdxl1.0-txt2img", cost_micro, "a house", "fog", {"prompt": "a house", "seed": 7})
