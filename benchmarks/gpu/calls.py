"""UNet calls and decodings: milliseconds, against diffusers', without each of our kernels, and in company."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from unittest.mock import patch

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from benchmarks.gpu.bench import POOLED, Bench, Rows
from benchmarks.report import at_most
from gesso.sdxl import operations
from gesso.sdxl.checkpoint import load_unet, load_vae
from gesso.sdxl.precision import FP8
from gesso.sdxl.recordings import Recorded
from gesso.sdxl.weights import open_weights

COUNTS = range(1, 17)
DECODING_GOAL = 30
KERNELS = ("convolve", "group_norm", "layer_norm", "gated")


def calls(bench: Bench) -> Rows:
    """Milliseconds of a UNet call, recorded, in bfloat16 and with 8-bit Linears, and of diffusers' as it stands."""
    ours = load_unet(bench.path, bench.device, torch.bfloat16)
    eight_bit = load_unet(bench.path, bench.device, FP8)
    theirs = _diffusers_unet(bench)
    measured: Rows = []
    for (width, height), rows in product(bench.sizes, bench.rows):
        told = bench.told(ours.network, rows, width, height)
        milliseconds = {
            "ours, ms": bench.milliseconds(partial(ours.call, *told)),
            "ours, fp8, ms": bench.milliseconds(partial(eight_bit.call, *told)),
            "diffusers, ms": bench.milliseconds(partial(theirs, told[0], told[2])),
        }
        measured.append({"size": f"{width}x{height}", "rows": rows} | milliseconds)
    return measured


def company(bench: Bench) -> Rows:
    """At which numbers of rows, and in reverse, every row has the bits that it has in a pair."""
    measured: Rows = []
    for name, precision in (("bfloat16", torch.bfloat16), ("fp8", FP8)):
        network = load_unet(bench.path, bench.device, precision).network
        call = Recorded(network)
        for width, height in bench.sizes:
            told = bench.told(network, max(COUNTS), width, height)

            def of(numbers: Tensor, call: Recorded = call, told: tuple[Tensor, ...] = told) -> Tensor:
                return call(*(one[numbers] for one in told))

            every = torch.arange(max(COUNTS), device=bench.device)
            pairs = torch.cat([of(pair) for pair in every.split(2)])
            differing = [count for count in COUNTS if not torch.equal(of(every[:count]), pairs[:count])]
            turned = torch.equal(of(every.flip(0)).flip(0), pairs)
            row = {"precision": name, "size": f"{width}x{height}", "other bits at": differing or "none"}
            measured.append(row | {"the same reversed": turned})
    return measured


def ablation(bench: Bench) -> Rows:
    """Milliseconds of a recorded UNet call without each of our kernels: torch's operation in its place."""
    unet = load_unet(bench.path, bench.device, torch.bfloat16)
    (width, height), rows = bench.sizes[0], (2, bench.rows[-2])
    told = {count: bench.told(unet.network, count, width, height) for count in rows}

    def measured(without: tuple[str, ...]) -> dict[str, object]:
        with _torchs(without):
            call = Recorded(unet.network)  # what was recorded has the kernels in it
            return {f"{count} rows, ms": bench.milliseconds(partial(call, *told[count])) for count in rows}

    if not operations.KERNELS:
        return [{"without": "(no kernels of ours here: torch's operations everywhere)"} | measured(())]
    cases = ((), *((name,) for name in KERNELS), KERNELS)
    return [{"without": ", ".join(case) or "nothing"} | measured(case) for case in cases]


@contextmanager
def _torchs(names: tuple[str, ...]) -> Iterator[None]:
    """Torch's operations for the named ones, whatever the device, until the end of the block."""
    plain = _without_kernels()
    with ExitStack() as replaced:
        for name in names:
            replaced.enter_context(patch(f"gesso.sdxl.kernels.{name}", plain[name]))
        yield


def _without_kernels() -> dict[str, Callable[..., object]]:
    """What `operations` does where there are no kernels."""

    def plainly(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            with patch.object(operations, "KERNELS", False):
                return function(*arguments)

        return call

    return {name: plainly(getattr(operations, name)) for name in KERNELS}


def decoding(bench: Bench) -> Rows:
    """G5: milliseconds that a picture's decoding takes."""
    vae = load_vae(bench.path, bench.device, torch.bfloat16)
    rows: Rows = []
    for width, height in bench.sizes:
        latents = torch.randn(1, *vae.latent_shape(width, height), device=bench.device, dtype=torch.bfloat16)
        taken = bench.milliseconds(partial(vae.network, latents))
        has_goal = (width, height) == bench.sizes[0] and not bench.small
        goal = at_most(taken, DECODING_GOAL) if has_goal else {"goal": "", "met": ""}
        rows.append({"size": f"{width}x{height}", "ms": taken} | goal)
    return rows


def _diffusers_unet(bench: Bench) -> Callable[[Tensor, Tensor], Tensor]:
    weights = open_weights(bench.path)
    unet = UNet2DConditionModel.from_config(dict(weights.architecture.unet or {}))
    weights.fill("unet", unet, torch.bfloat16)
    unet = unet.eval().to(bench.device, memory_format=torch.channels_last)

    def call(latents: Tensor, context: Tensor) -> Tensor:
        told = {
            "text_embeds": torch.zeros(len(latents), POOLED, device=bench.device, dtype=torch.bfloat16),
            "time_ids": torch.zeros(len(latents), 6, device=bench.device),
        }
        predicted: Tensor = unet(latents, 500.0, encoder_hidden_states=context, added_cond_kwargs=told).sample
        return predicted

    return call
