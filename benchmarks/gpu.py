"""On a GPU: UNet calls, their agreement, decoding, and whole pictures, with SDXL's full size and random weights.

`python -m benchmarks.gpu` measures all parts, or those that are named; each prints its rows and a JSON line as soon as
it is done. `--small` takes networks of next to no size, to try the script itself on a CPU.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from benchmarks.full_size import SMALL, write_full_size
from benchmarks.lone_pipeline import Work
from benchmarks.report import report
from benchmarks.side_by_side import compare
from gesso.engine.models import choose_device
from gesso.sdxl.architecture import SDXL_BASE, Architecture
from gesso.sdxl.checkpoint import load_unet, load_vae
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.recordings import Recorded
from gesso.sdxl.weights import open_weights

DEVICE = choose_device("auto")
SIZES = ((1024, 1024), (896, 1152), (512, 512))
FACTOR, CONTEXT, POOLED = 8, 2048, 1280
ROWS = (2, 4, 8, 16)
COUNTS = range(1, 17)
REPEATS = 7


def calls(path: str, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, object]]:
    """Milliseconds of a UNet call, recorded, and of diffusers' as it stands."""
    ours, theirs = load_unet(path, DEVICE, torch.bfloat16), _diffusers_unet(path)
    measured: list[dict[str, object]] = []
    for (width, height), rows in product(sizes, ROWS):
        told = _told(ours.network, rows, width, height)
        milliseconds = {
            "ours, ms": _milliseconds(partial(ours.call, *told)),
            "diffusers, ms": _milliseconds(partial(theirs, told[0], told[2])),
        }
        measured.append({"size": f"{width}x{height}", "rows": rows} | milliseconds)
    return measured


def company(path: str, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, object]]:
    """At which numbers of rows, and in reverse, every row has the bits that it has in a pair."""
    network = load_unet(path, DEVICE, torch.bfloat16).network
    call = Recorded(network)
    rows: list[dict[str, object]] = []
    for width, height in sizes:
        told = _told(network, max(COUNTS), width, height)

        def of(numbers: Tensor, told: tuple[Tensor, ...] = told) -> Tensor:
            return call(*(one[numbers] for one in told))

        every = torch.arange(max(COUNTS), device=DEVICE)
        pairs = torch.cat([of(pair) for pair in every.split(2)])
        differing = [count for count in COUNTS if not torch.equal(of(every[:count]), pairs[:count])]
        turned = torch.equal(of(every.flip(0)).flip(0), pairs)
        rows.append({"size": f"{width}x{height}", "other bits at": differing or "none", "the same reversed": turned})
    return rows


def decoding(path: str, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, object]]:
    """Milliseconds that a picture's decoding takes."""
    vae = load_vae(path, DEVICE, torch.bfloat16)
    rows: list[dict[str, object]] = []
    for width, height in sizes:
        latents = torch.randn(1, *vae.latent_shape(width, height), device=DEVICE, dtype=torch.bfloat16)
        rows.append({"size": f"{width}x{height}", "ms": _milliseconds(partial(vae.network, latents))})
    return rows


def painting(path: str, sizes: tuple[tuple[int, int], ...]) -> list[dict[str, object]]:
    """The engine against a diffusers pipeline: an image alone, and sixteen as MLPerf has them."""
    alone = Work(*sizes[0], torch.bfloat16, "UniPC", steps=30, path=path, device=DEVICE)
    together = replace(alone, scheduler="Euler", steps=20, guidance_scale=8.0)
    return [
        {"images": 1, "steps": 30} | compare(alone, images=1, pairs=3),
        {"images": 16, "steps": 20} | compare(together, images=16, pairs=1),
    ]


PARTS: dict[str, Callable[[str, tuple[tuple[int, int], ...]], list[dict[str, object]]]] = {
    part.__name__: part for part in (calls, company, decoding, painting)
}


@torch.inference_mode()
def main() -> None:
    """Write the checkpoint, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    shape: Architecture = SMALL if options.small else SDXL_BASE
    sizes = tuple((width // 8, height // 8) for width, height in SIZES) if options.small else SIZES
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "random.safetensors")
        write_full_size(Path(path), shape)
        for name in options.parts or PARTS:
            report(f"{name}: {(PARTS[name].__doc__ or '').splitlines()[0]}", PARTS[name](path, sizes))


def _told(network: UnetNetwork, rows: int, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random latents, shifts and contexts of a call."""
    generator = torch.Generator(DEVICE).manual_seed(rows)
    timesteps = torch.full((rows,), 500.0, device=DEVICE)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=DEVICE).to(torch.bfloat16)

    sizes = torch.full((rows, 6), float(height), device=DEVICE)
    shifts = network.shifts(timesteps, drawn(rows, POOLED), sizes)
    return drawn(rows, 4, height // FACTOR, width // FACTOR), shifts, drawn(rows, 77, CONTEXT)


def _milliseconds(call: Callable[[], object]) -> float:
    """The median of several, after three that are not counted."""
    seconds = []
    for _ in range(3 + REPEATS):
        _wait()
        began = time.perf_counter()
        call()
        _wait()
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds[3:])


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _diffusers_unet(path: str) -> Callable[[Tensor, Tensor], Tensor]:
    weights = open_weights(path)
    unet = UNet2DConditionModel.from_config(dict(weights.architecture.unet or {}))
    weights.fill("unet", unet, torch.bfloat16)
    unet = unet.eval().to(DEVICE, memory_format=torch.channels_last)

    def call(latents: Tensor, context: Tensor) -> Tensor:
        told = {
            "text_embeds": torch.zeros(len(latents), POOLED, device=DEVICE, dtype=torch.bfloat16),
            "time_ids": torch.zeros(len(latents), 6, device=DEVICE),
        }
        predicted: Tensor = unet(latents, 500.0, encoder_hidden_states=context, added_cond_kwargs=told).sample
        return predicted

    return call


if __name__ == "__main__":
    main()
