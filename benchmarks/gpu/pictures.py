"""Whole pictures: many at once, one alone, and how near those of 8-bit Linears come."""

from dataclasses import replace
from itertools import count

import numpy as np
import torch

from benchmarks.gpu.bench import DECODE_TFLOP, ENCODERS_TFLOP, ROW_TFLOP, Bench, Rows
from benchmarks.lone_pipeline import Work, build_pipeline, request
from benchmarks.report import at_least, at_most
from benchmarks.side_by_side import Compared, compare, compiled
from gesso.engine.loop import Loop
from gesso.engine.messages import Event, Painted
from gesso.engine.models import Models
from gesso.sdxl.precision import FP8, Precision

MANY = 16
THROUGHPUT_GOALS = {"bfloat16": 1.6, "fp8": 2.5}
LONE_GOAL, TIMES_EAGER_GOAL, TIMES_COMPILED_GOAL = 1.1, 2.0, 1.25
PROMPTS = ("a red heart on a blue background", "a boat on the sea at sunset", "a portrait of a cat, oil painting")
DIFFUSERS = {"diffusers": build_pipeline}


def throughput(bench: Bench) -> Rows:
    """G1: sixteen pictures as MLPerf has them (Euler, 20 steps, guidance 8, 1024x1024), in the engine."""
    rows: Rows = []
    images = bench.few(MANY)
    for name, precision in (("bfloat16", Precision(torch.bfloat16)), ("fp8", FP8)):
        compared = compare(_mlperf(bench), images, runs=2, peers={}, precision=precision)
        rate = images / compared.seconds
        rows.append({"precision": name, "pictures/s": rate, "TFLOP/s": rate * _tflop(20)} | _goal(bench, name, rate))
    return rows


def lone(bench: Bench) -> Rows:
    """G2: a picture alone (UniPC, 30 steps, guidance 7, 1024x1024), against diffusers as it stands."""
    compared = compare(_alone(bench), images=1, runs=bench.few(3), peers=DIFFUSERS)
    return _lone_rows(bench, compared, "diffusers", TIMES_EAGER_GOAL)


def compiled_peer(bench: Bench) -> Rows:
    """G2: the same against diffusers with its UNet compiled, which takes minutes before the first picture."""
    compared = compare(_alone(bench), images=1, runs=bench.few(3), peers={"compiled": compiled})
    return _lone_rows(bench, compared, "compiled", TIMES_COMPILED_GOAL)


def eight_bits(bench: Bench) -> Rows:
    """How near pictures of 8-bit Linears come to those of bfloat16, of 255: random weights, so the worst case."""
    work = replace(_alone(bench), width=bench.sizes[-1][0], height=bench.sizes[-1][1])
    plain, coarse = _painted(work, Precision(torch.bfloat16)), _painted(work, FP8)
    rows: Rows = []
    for prompt, one, other in zip(PROMPTS, plain, coarse, strict=True):
        apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
        error = float(np.mean(apart.astype(np.float64) ** 2))
        psnr = 10 * np.log10(255**2 / max(error, 1e-9))
        rows.append({"prompt": prompt, "PSNR, dB": float(psnr), "mean": float(apart.mean()), "most": int(apart.max())})
    return rows


def _mlperf(bench: Bench) -> Work:
    work = Work(*bench.sizes[0], torch.bfloat16, "Euler", steps=bench.few(20), guidance_scale=8.0)
    return replace(work, path=bench.path, device=bench.device)


def _alone(bench: Bench) -> Work:
    steps = bench.few(30)
    return Work(*bench.sizes[0], torch.bfloat16, "UniPC", steps=steps, path=bench.path, device=bench.device)


def _tflop(steps: int) -> float:
    """Of a guided picture."""
    return 2 * steps * ROW_TFLOP + DECODE_TFLOP + ENCODERS_TFLOP


def _goal(bench: Bench, precision: str, rate: float) -> dict[str, object]:
    return {"goal": "", "met": ""} if bench.small else at_least(rate, THROUGHPUT_GOALS[precision])


def _lone_rows(bench: Bench, compared: Compared, peer: str, goal: float) -> Rows:
    none: dict[str, object] = {"goal": "", "met": ""}
    times = compared.times_as_fast_as(peer)
    seconds = {"what": "engine, s", "value": compared.seconds}
    ratio = {"what": f"times as fast as {peer}", "value": times}
    return [
        seconds | (none if bench.small else at_most(compared.seconds, LONE_GOAL)),
        {"what": "TFLOP/s", "value": _tflop(30) / compared.seconds} | none,
        ratio | (none if bench.small else at_least(times, goal)),
    ]


def _painted(work: Work, precision: Precision) -> list[np.ndarray]:
    """Of each prompt a picture, [height * width * 3] uint8."""
    heard: list[Event] = []
    loop = Loop(Models(work.device, precision), heard.append)
    for prompt, seed in zip(PROMPTS, count(), strict=False):
        loop.submit(request(work, prompt, seed))
        while not loop.idle:
            loop.turn()
    return [np.frombuffer(event.pixels.rgb, np.uint8) for event in heard if isinstance(event, Painted)]
