"""G4: how long a change of checkpoint takes, and what it costs to have five in turn."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.bench import Bench, Rows
from benchmarks.lone_pipeline import PROMPT, Work, request
from benchmarks.report import at_least, at_most
from gesso.engine.loop import Loop
from gesso.engine.messages import CheckpointFiles
from gesso.engine.models import Models
from gesso.sdxl.checkpoint import copied, load_unet, pinned
from gesso.sdxl.unet import Unet

CHECKPOINTS, IMAGES, STEPS = 5, 20, 10
RESIDENT_GOAL, HOST_GOAL, DISK_GOAL, SHARE_GOAL = 0.01, 0.4, 4, 0.9


def switching(bench: Bench) -> Rows:
    """G4: seconds that a change of UNet adds to a call, and that bringing one takes; five checkpoints in turn."""
    host = load_unet(bench.path, torch.device("cpu"), torch.bfloat16)
    kept = pinned(host) if bench.device.type == "cuda" else host
    one, other = (copied(kept, bench.device) for _ in range(2))
    assert isinstance(one, Unet)
    assert isinstance(other, Unet)
    told = bench.told(one.network, 2, *bench.sizes[0])
    call = bench.milliseconds(partial(one.call, *told)) / 1000
    bench.milliseconds(partial(other.call, *told))
    in_turn = bench.milliseconds(lambda: (one.call(*told), other.call(*told))) / 1000
    changes = (in_turn - 2 * call) / 2
    from_host = _seconds(bench, lambda: copied(kept, bench.device))
    from_disk = _seconds(
        bench, lambda: copied(load_unet(bench.path, torch.device("cpu"), torch.bfloat16), bench.device)
    )
    share = _in_turn(bench)
    rows: Rows = [
        {"what": "resident, s", "value": max(0.0, changes)} | at_most(changes, RESIDENT_GOAL),
        {"what": "from the host's pinned memory, s", "value": from_host} | at_most(from_host, HOST_GOAL),
        {"what": "from the page cache, s", "value": from_disk} | at_most(from_disk, DISK_GOAL),
        {"what": "rate of five in turn against one", "value": share} | at_least(share, SHARE_GOAL),
    ]
    return [row | {"goal": "", "met": ""} for row in rows] if bench.small else rows


def _seconds(bench: Bench, bring: Callable[[], object]) -> float:
    """The median of three."""
    taken = []
    for _ in range(3):
        bench.wait()
        began = time.perf_counter()
        bring()
        bench.wait()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[1]


def _in_turn(bench: Bench) -> float:
    """The rate of pictures from five checkpoints in turn against the same from one, all resident."""
    paths = [_named_again(bench.path, number) for number in range(bench.few(CHECKPOINTS))]
    loop = Loop(Models(bench.device, torch.bfloat16), lambda event: None)
    _paint(bench, loop, paths, "a first time")
    _paint(bench, loop, paths[:1], "a first time for one")
    five = _paint(bench, loop, paths, "in turn")
    return _paint(bench, loop, paths[:1], "from one") / five


def _named_again(path: str, number: int) -> str:
    """The same file under another name, which makes it another checkpoint."""
    name = Path(path).with_name(f"checkpoint-{number}.safetensors")
    name.unlink(missing_ok=True)
    os.link(path, name)
    return str(name)


def _paint(bench: Bench, loop: Loop, paths: list[str], words: str) -> float:
    """Seconds for IMAGES pictures, from these in turn."""
    steps = bench.few(STEPS)
    work = Work(*bench.sizes[0], torch.bfloat16, "Euler", steps=steps, path=bench.path, device=bench.device)
    bench.wait()
    began = time.perf_counter()
    for number in range(bench.few(IMAGES)):
        path = paths[number % len(paths)]
        asked = replace(request(work, f"{PROMPT}, {words}", number), checkpoint=CheckpointFiles(path, path))
        loop.submit(asked)
    while not loop.idle:
        loop.turn()
    bench.wait()
    return time.perf_counter() - began
