"""Whatever the traffic: each picture of a crowd has the bytes that it has alone; and what each measure is for.

Sums are split between two threads here, whatever the machine has: that is where company shows most.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from gesso.diffusion.names import SERVED
from gesso.engine import agreement
from gesso.engine.agreement import Agreement, Call
from gesso.engine.models import Models
from gesso.sdxl import text
from gesso.sdxl.text import Conditioning
from gesso.sdxl.unet import Unet
from tests.engine import crowd

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crowd.write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_two_hundred_mixed_requests_paint_what_each_paints_alone(
    dtype: torch.dtype, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "TRUSTED", 1)  # so that most calls are trusted, after one comparison
    requests = crowd.requests(folder, 200, seed=1)
    assert {request.scheduler for request in requests} == set(SERVED)
    lone = crowd.alone(Models(CPU, dtype), requests)
    assert len(set(lone.values())) == len(lone), "pictures that are all alike would show nothing"
    assert not crowd.unequal(lone, crowd.together(Models(CPU, dtype), requests, seed=2))


# What follows switches the measures off one by one. Which of them a machine needs hangs on its kernels, so it is looked
# at where it was found: with AVX-512, in float32.
needs_known_kernels = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="this machine's kernels are not those looked at"
)


def without_comparison(self: Agreement, shape: Any, images: Sequence[range], call: Call) -> Tensor:
    """Any even size, whether or not it agrees."""
    rows = [row for image in images for row in image]
    return call([*rows, *rows[-1:]] if len(rows) % 2 else rows)[: len(rows)]


def without_floor(self: Agreement, shape: Any, images: Sequence[range], call: Call) -> Tensor:
    """A single row goes by itself; all else as it should."""
    return call([0]) if len(images) == len(images[0]) == 1 else evaluate(self, shape, images, call)


evaluate = Agreement.evaluate


@dataclass(frozen=True)
class ToldLate:
    """Time, size and prompt as they are before the Linears on one vector a row."""

    timestep: Tensor
    pooled: Tensor
    size_ids: Tensor
    context: Tensor


def tell_late(
    self: Unet, timesteps: Tensor, conditionings: Sequence[Conditioning], size_ids: tuple[float, ...]
) -> tuple[ToldLate, ...]:
    sizes = torch.tensor(size_ids)
    return tuple(
        ToldLate(timestep, one.pooled, sizes, one.context)
        for timestep, one in zip(timesteps, conditionings, strict=True)
    )


def predict_late(self: Unet, rows: Tensor, told: Sequence[ToldLate]) -> Tensor:
    timesteps, pooled, sizes, context = (
        torch.stack([getattr(one, name) for one in told]) for name in ("timestep", "pooled", "size_ids", "context")
    )
    prediction: Tensor = self.network(rows.to(self.dtype), self.network.shifts(timesteps, pooled, sizes), context)
    return prediction.float()


class Company:
    """Other work in the same call of an encoder or decoder: none in lone runs, two more in a crowd."""

    def __init__(self) -> None:
        self.present = False

    def joins(self, batch: Tensor) -> Tensor:
        return torch.cat([batch] * 3) if self.present else batch

    def come(self) -> None:
        self.present = True


def changed(folder: Path, between: Callable[[], object] = lambda: None) -> list[tuple[str, int]]:
    """Pictures that differ between lone runs and a crowd, before which something happens."""
    requests = crowd.requests(folder, 24, seed=3, sizes=[(64, 96), (160, 192)])
    lone = crowd.alone(Models(CPU, torch.float32), requests)
    between()
    return crowd.unequal(lone, crowd.together(Models(CPU, torch.float32), requests, seed=4))


@needs_known_kernels
def test_with_all_measures_on_nothing_changes(folder: Path) -> None:
    assert not changed(folder)


@needs_known_kernels
def test_sizes_of_calls_have_to_be_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Agreement, "evaluate", without_comparison)
    assert changed(folder)


@needs_known_kernels
def test_a_single_row_needs_company(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Agreement, "evaluate", without_floor)
    assert changed(folder)


@needs_known_kernels
def test_time_and_size_have_to_be_told_at_admission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Agreement, "evaluate", without_comparison)  # which would send every row by itself, and hide it
    early = changed(folder)
    monkeypatch.setattr(Unet, "tell", tell_late)
    monkeypatch.setattr(Unet, "predict", predict_late)
    assert len(changed(folder)) > len(early)


@needs_known_kernels
def test_the_number_of_threads_has_to_stay(folder: Path) -> None:
    try:
        assert changed(folder, lambda: torch.set_num_threads(1))
    finally:
        torch.set_num_threads(2)


@needs_known_kernels
def test_pictures_have_to_be_decoded_one_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    company, decode = Company(), AutoencoderKL.decode
    monkeypatch.setattr(
        AutoencoderKL, "decode", lambda self, latents, **options: decode(self, company.joins(latents), **options)
    )
    assert changed(folder, company.come)


@needs_known_kernels
def test_start_images_have_to_be_encoded_one_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    company, encode = Company(), AutoencoderKL.encode

    def encode_first(self: AutoencoderKL, pixels: Tensor) -> SimpleNamespace:
        parameters = encode(self, company.joins(pixels)).latent_dist.parameters[:1]
        return SimpleNamespace(latent_dist=DiagonalGaussianDistribution(parameters))

    monkeypatch.setattr(AutoencoderKL, "encode", encode_first)
    assert changed(folder, company.come)


@needs_known_kernels
def test_chunks_of_prompts_have_to_be_encoded_one_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    company, token_ids = Company(), text._token_ids
    monkeypatch.setattr(text, "_token_ids", lambda *arguments: company.joins(token_ids(*arguments)))
    assert changed(folder, company.come)
