"""The engine and diffusers pipelines in turn, over the same weights in the same precision, from words to pixels.

Every run has words of its own, so that the engine has not met its prompt before. Left out on all sides: process
boundary, HTTP, PNG.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionXLPipeline

from benchmarks.lone_pipeline import PROMPT, Work, build_pipeline, paint_with, request
from benchmarks.report import spread
from gesso.engine.loop import Loop
from gesso.engine.models import Models
from gesso.sdxl.precision import Precision

Peer = Callable[[Work], StableDiffusionXLPipeline]


def compiled(work: Work) -> StableDiffusionXLPipeline:
    """A pipeline whose UNet torch.compile has made faster, as diffusers' documentation advises."""
    pipeline = build_pipeline(work)
    pipeline.unet = torch.compile(pipeline.unet, fullgraph=True)
    return pipeline


@dataclass(frozen=True)
class Compared:
    """Seconds of every counted run: the engine's, and each peer's, by its name."""

    work: Work
    engine: list[float]
    peers: Mapping[str, list[float]]

    @property
    def seconds(self) -> float:
        """Of the engine."""
        return statistics.median(self.engine)

    def times_as_fast_as(self, peer: str) -> float:
        """The median of the runs' ratios."""
        pairs = zip(self.peers[peer], self.engine, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    @property
    def row(self) -> dict[str, object]:
        """For a table."""
        return {
            "size": f"{self.work.width}x{self.work.height}",
            "precision": str(self.work.dtype).removeprefix("torch."),
            "engine, s": spread(self.engine),
            **{f"{name}, s": spread(seconds) for name, seconds in self.peers.items()},
            **{f"times as fast as {name}": self.times_as_fast_as(name) for name in self.peers},
        }


PIPELINE: dict[str, Peer] = {"pipeline": build_pipeline}


def compare(
    work: Work, images: int, runs: int, peers: Mapping[str, Peer] = PIPELINE, precision: Precision | None = None
) -> Compared:
    """So many images one after another in each pipeline against all at once in the engine.

    Each side goes first once without being counted. `precision`: the engine's, if it is not the work's.
    """
    pipelines = {name: build(work) for name, build in peers.items()}
    loop = Loop(Models(work.device, precision or work.dtype), lambda event: None)
    engine, others = list[float](), {name: list[float]() for name in peers}
    for run in range(runs + 1):
        for name, pipeline in pipelines.items():
            others[name].append(_seconds_in(pipeline, work, f"{PROMPT}, number {run}", images))
        engine.append(_seconds_of(loop, work, f"{PROMPT}, number {run}", images))
    return Compared(work, engine[1:], {name: seconds[1:] for name, seconds in others.items()})


def _seconds_in(pipeline: StableDiffusionXLPipeline, work: Work, prompt: str, images: int) -> float:
    began = time.monotonic()
    for seed in range(images):
        paint_with(pipeline, work, prompt, seed)
    return time.monotonic() - began


def _seconds_of(loop: Loop, work: Work, prompt: str, images: int) -> float:
    began = time.monotonic()
    for seed in range(images):
        loop.submit(request(work, prompt, seed))
    while not loop.idle:
        loop.turn()
    return time.monotonic() - began
