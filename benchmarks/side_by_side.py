"""The engine and a diffusers pipeline in turn, over the same weights in the same precision, from words to pixels.

Every run has words of its own, so that neither side has met its prompt before. Left out on both sides: process
boundary, HTTP, PNG.
"""

import statistics
import time

from benchmarks.lone_pipeline import PROMPT, Work, build_pipeline, paint_with, request
from benchmarks.report import spread
from gesso.engine.loop import Loop
from gesso.engine.models import Models


def compare(work: Work, images: int, pairs: int) -> dict[str, object]:
    """A row: so many images one after another in the pipeline against all at once in the engine.

    Each side goes first once without being counted; the ratio is the median of the pairs'.
    """
    pipeline, loop = build_pipeline(work), Loop(Models(work.device, work.dtype), lambda event: None)
    theirs, ours = [], []
    for run in range(pairs + 1):
        prompt = f"{PROMPT}, number {run}"
        began = time.monotonic()
        for seed in range(images):
            paint_with(pipeline, work, prompt, seed)
        between = time.monotonic()
        for seed in range(images):
            loop.submit(request(work, prompt, seed))
        while not loop.idle:
            loop.turn()
        theirs.append(between - began)
        ours.append(time.monotonic() - between)
    ratio = statistics.median(one / other for one, other in zip(theirs[1:], ours[1:], strict=True))
    return {
        "size": f"{work.width}x{work.height}",
        "precision": str(work.dtype).removeprefix("torch."),
        "pipeline, s": spread(theirs[1:]),
        "engine, s": spread(ours[1:]),
        "times as fast": ratio,
    }
