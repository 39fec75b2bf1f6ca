"""How a picture was made, in the text form that AUTOMATIC1111 introduced and the field's tools read.

Depends on the request alone, never on when or where it was painted, so that equal requests give equal files.
"""

import json
from collections.abc import Iterator

from gesso.jobs.order import Order


def infotext(order: Order, seed: int) -> str:
    """Prompt, negative prompt and parameters of the order's picture with this seed."""
    negative = f"Negative prompt: {order.negative_prompt}\n" if order.negative_prompt else ""
    return f"{order.prompt}\n{negative}{', '.join(f'{name}: {value}' for name, value in _parameters(order, seed))}"


def _parameters(order: Order, seed: int) -> Iterator[tuple[str, str]]:
    paint = order.paint
    yield "Steps", str(paint.steps)
    yield "Sampler", paint.scheduler
    yield "CFG scale", f"{paint.guidance_scale:.12g}"
    yield "Seed", str(seed)
    yield "Size", f"{paint.width}x{paint.height}"
    yield "Model", _quoted(paint.checkpoint.id)
    if paint.start is not None:
        yield "Denoising strength", f"{paint.start.strength:.12g}"
    if paint.refinement is not None:
        yield "Refiner", _quoted(paint.refinement.checkpoint.id)
        yield "Refiner switch at", f"{paint.refinement.high_noise_fraction:.12g}"
        if paint.refinement.high_noise_fraction == 0:
            yield "Refiner strength", f"{paint.refinement.strength:.12g}"
    yield "Version", "gesso"


def _quoted(text: str) -> str:
    """As AUTOMATIC1111 does where the text holds what separates parameters."""
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
