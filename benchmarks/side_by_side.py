"""The engine and a diffusers pipeline in turn, over the same weights in the same precision, from words to pixels.

Every run has words of its own, so that neither side has met its prompt before. Left out on both sides: process
boundary, HTTP, PNG.
"""

import statistics
import time

import torch

from benchmarks.lone_pipeline import CPU, PROMPT, build_pipeline, paint_with, request
from benchmarks.report import spread
from gesso.engine.loop import Loop
from gesso.engine.models import Models

SCHEDULER = "UniPC"


def compare(width: int, height: int, dtype: torch.dtype, images: int, pairs: int) -> dict[str, object]:
    """A row: so many images one after another in the pipeline against all at once in the engine.

    Each side goes first once without being counted; the ratio is the median of the pairs'.
    """
    pipeline, loop = build_pipeline(SCHEDULER, dtype), Loop(Models(CPU, dtype), lambda event: None)
    theirs, ours = [], []
    for run in range(pairs + 1):
        prompt = f"{PROMPT}, number {run}"
        began = time.monotonic()
        for seed in range(images):
            paint_with(pipeline, prompt, width, height, seed)
        between = time.monotonic()
        for seed in range(images):
            loop.submit(request(SCHEDULER, prompt, width, height, seed))
        while not loop.idle:
            loop.turn()
        theirs.append(between - began)
        ours.append(time.monotonic() - between)
    ratio = statistics.median(one / other for one, other in zip(theirs[1:], ours[1:], strict=True))
    return {
        "size": f"{width}x{height}",
        "precision": str(dtype).removeprefix("torch."),
        "pipeline, s": spread(theirs[1:]),
        "engine, s": spread(ours[1:]),
        "times as fast": ratio,
    }
