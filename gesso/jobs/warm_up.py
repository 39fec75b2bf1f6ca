"""Painting for nobody, so that the first who asks waits neither for networks to load nor for kernels to be compiled."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import structlog

from gesso.engine.messages import Finished, Paint
from gesso.errors import GessoError
from gesso.jobs.ports import Engine

STEPS = 10
"""So many that base and refiner have three calls each by default: one is made as it stands, the next is recorded."""
NOBODY = -1

log = structlog.get_logger()


async def warm_up(engine: Engine, paints: Iterable[Paint]) -> None:
    """Paint them in few steps, one after another; what goes wrong is logged, and will be told whoever asks for it."""
    for paint in paints:
        began = asyncio.get_running_loop().time()
        brief = replace(paint, steps=STEPS, account=NOBODY)
        try:
            async for event in engine.paint(brief):
                if isinstance(event, Finished):
                    seconds = round(asyncio.get_running_loop().time() - began, 1)
                    log.info("warmed up", checkpoint=paint.checkpoint.id, seconds=seconds)
        except GessoError as error:
            log.warning("could not be warmed up", checkpoint=paint.checkpoint.id, reason=error.sentence)
