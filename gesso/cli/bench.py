"""`gesso doctor --bench`: how fast this machine paints, to compare with others."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from gesso import app as house
from gesso.catalogue.validation import read_request
from gesso.engine.messages import Finished, Paint, Timings
from gesso.jobs.order import resolve
from gesso.jobs.ports import Engine
from gesso.settings import Settings

SIZES = {"cpu": (512, 512)}
ELSEWHERE = (1024, 1024)
TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """`what` was done, and how fast, in a sentence."""

    what: str
    found: str


async def bench(settings: Settings, engine: Engine) -> AsyncIterator[Measured]:
    """The first endpoint's base, without refiner, at its defaults: a picture alone, and several requests at once.

    Each goes first once without being counted. What the server does beside painting is not in it.
    """
    catalogue = house.read_catalogue(settings)
    endpoint = next(iter(catalogue.endpoints.values()))
    width, height = SIZES.get(engine.state.device or "", ELSEWHERE)
    body = {"prompt": "a red heart on a blue background", "img_width": width, "img_height": height, "refiner": False}
    valid = read_request(endpoint, {name: body[name] for name in body if name in endpoint.parameters})
    paint = resolve(valid, "bench", catalogue, models_dir=settings.models).paint
    await _seconds(engine, paint, 1)
    alone, timings = await _seconds(engine, paint, 1)
    yield Measured("one picture", f"{_described(paint)}: {alone:.2f} s, {timings.denoise:.2f} of them in the UNet")
    await _seconds(engine, paint, TOGETHER)
    together, _ = await _seconds(engine, paint, TOGETHER)
    rate = TOGETHER / together
    yield Measured(f"{TOGETHER} at once", f"{rate:.2f} pictures a second, {rate * alone:.2f} times as many as alone")


async def _seconds(engine: Engine, paint: Paint, requests: int) -> tuple[float, Timings]:
    """For so many requests of one picture each, all at once; and where the last one's went."""
    began = time.monotonic()
    asked = [replace(paint, id=secrets.token_hex(8), seeds=(seed,)) for seed in range(requests)]
    ends = await asyncio.gather(*(_end(engine, one) for one in asked))
    return time.monotonic() - began, ends[-1].timings


async def _end(engine: Engine, paint: Paint) -> Finished:
    end = None
    async for event in engine.paint(paint):
        if isinstance(event, Finished):
            end = event
    assert end is not None
    return end


def _described(paint: Paint) -> str:
    size = f"{paint.width}x{paint.height}"
    return f"{paint.checkpoint.id}, {size}, {paint.steps} steps of {paint.scheduler}, guidance {paint.guidance_scale:g}"
