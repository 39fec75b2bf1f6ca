"""The measures that keep a picture's bytes from hanging on its company, and what happens without each of them.

`python -m tests.engine.measures` prints the table of docs/exactness.md: how many pictures of a crowd differ from their
lone runs when one measure is switched off.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gesso.engine.agreement import Agreement, Call
from gesso.engine.models import Models
from gesso.sdxl import text
from gesso.sdxl.text import Conditioning
from gesso.sdxl.unet import Unet
from gesso.sdxl.vae_network import VaeNetwork
from tests.engine import crowd

REQUESTS, SEED = 24, 3
SIZES = [(64, 96), (160, 192)]
THREADS = 2

Traffic = Callable[[], object]
"""What changes when the crowd comes."""


def nothing() -> None:
    """Nothing changes but that there is a crowd."""


class Company:
    """Other work in the same call of an encoder or decoder: none in lone runs, two more in a crowd."""

    def __init__(self) -> None:
        self.present = False

    def joins(self, batch: Tensor) -> Tensor:
        return torch.cat([batch] * 3) if self.present else batch

    def come(self) -> None:
        self.present = True


def sizes_uncompared(patch: pytest.MonkeyPatch) -> Traffic:
    """Any even size of call is used, whether or not it agrees."""

    def evaluate(self: Agreement, shape: Any, images: Sequence[range], call: Call) -> Tensor:
        rows = [row for image in images for row in image]
        return call([*rows, *rows[-1:]] if len(rows) % 2 else rows)[: len(rows)]

    patch.setattr(Agreement, "evaluate", evaluate)
    return nothing


def single_rows(patch: pytest.MonkeyPatch) -> Traffic:
    """An image of one row is a call of one row when it is alone."""
    measured = Agreement.evaluate

    def evaluate(self: Agreement, shape: Any, images: Sequence[range], call: Call) -> Tensor:
        return call([0]) if len(images) == len(images[0]) == 1 else measured(self, shape, images, call)

    patch.setattr(Agreement, "evaluate", evaluate)
    return nothing


@dataclass(frozen=True)
class ToldLate:
    """Time, size and prompt as they are before the Linears on one vector a row."""

    timestep: Tensor
    pooled: Tensor
    size_ids: Tensor
    context: Tensor
    shifts: Tensor


def told_in_the_call(patch: pytest.MonkeyPatch) -> Traffic:
    """Time, size and pooled prompt are projected in each call. (Comparison is off as well: it would notice, and send
    every image by itself.)"""

    def tell(
        self: Unet, timesteps: Tensor, conditionings: Sequence[Conditioning], size_ids: tuple[float, ...]
    ) -> tuple[ToldLate, ...]:
        sizes = torch.tensor(size_ids)
        return tuple(
            ToldLate(timestep, one.pooled, sizes, one.context, timestep)
            for timestep, one in zip(timesteps, conditionings, strict=True)
        )

    def predict(self: Unet, rows: Tensor, told: Sequence[ToldLate]) -> Tensor:
        timesteps, pooled, sizes, context = (
            torch.stack([getattr(one, name) for one in told]) for name in ("timestep", "pooled", "size_ids", "context")
        )
        prediction: Tensor = self.network(rows.to(self.dtype), self.network.shifts(timesteps, pooled, sizes), context)
        return prediction.float()

    patch.setattr(Unet, "tell", tell)
    patch.setattr(Unet, "predict", predict)
    return sizes_uncompared(patch)


def other_threads(patch: pytest.MonkeyPatch) -> Traffic:
    """The crowd has one thread less."""
    return lambda: torch.set_num_threads(THREADS - 1)


def pictures_together(patch: pytest.MonkeyPatch) -> Traffic:
    """Three pictures are decoded at a time."""
    company, decode = Company(), VaeNetwork.forward
    patch.setattr(VaeNetwork, "forward", lambda self, latents: decode(self, company.joins(latents)))
    return company.come


def start_images_together(patch: pytest.MonkeyPatch) -> Traffic:
    """Three start images are encoded at a time."""
    company, encode = Company(), VaeNetwork.encode

    def encode_first(self: VaeNetwork, pixels: Tensor) -> tuple[Tensor, Tensor]:
        means, deviations = encode(self, company.joins(pixels))
        return means[:1], deviations[:1]

    patch.setattr(VaeNetwork, "encode", encode_first)
    return company.come


def chunks_together(patch: pytest.MonkeyPatch) -> Traffic:
    """Three chunks of prompts are encoded at a time."""
    company, token_ids = Company(), text.token_ids
    patch.setattr(text, "token_ids", lambda *arguments: company.joins(token_ids(*arguments)))
    return company.come


WITHOUT: dict[str, Callable[[pytest.MonkeyPatch], Traffic]] = {
    "time, size and pooled prompt are projected at admission": told_in_the_call,
    "a call has two rows or more": single_rows,
    "a size of call is used only where it agrees with the images' own calls": sizes_uncompared,
    "the number of threads stays": other_threads,
    "one picture is decoded at a time": pictures_together,
    "one start image is encoded at a time": start_images_together,
    "one chunk of a prompt is encoded at a time": chunks_together,
}
"""Each measure, and what switches it off."""


def changed(folder: Path, dtype: torch.dtype, come: Traffic) -> tuple[int, int]:
    """How many pictures of a crowd differ from their lone runs, and of how many."""
    device = torch.device("cpu")
    requests = crowd.requests(folder, REQUESTS, SEED, SIZES)
    torch.set_num_threads(THREADS)
    try:
        lone = crowd.alone(Models(device, dtype), requests)
        come()
        return len(crowd.unequal(lone, crowd.together(Models(device, dtype), requests, SEED))), len(lone)
    finally:
        torch.set_num_threads(THREADS)


def main() -> None:
    print("| measure | float32 | bfloat16 |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = crowd.write_checkpoints(Path(name))
        for measure, without in [("all of them", lambda _: nothing), *WITHOUT.items()]:
            cells = [measure]
            for dtype in (torch.float32, torch.bfloat16):
                with pytest.MonkeyPatch.context() as patch:
                    differ, pictures = changed(folder, dtype, without(patch))
                cells.append(f"{differ} of {pictures}")
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
