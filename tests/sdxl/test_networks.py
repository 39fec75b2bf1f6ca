"""What the networks are told and say: prompts, sizes, pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gesso.prompt.chunks import Chunk
from gesso.prompt.understanding import understand
from gesso.sdxl.checkpoint import load_text_encoders, load_unet, load_vae
from gesso.sdxl.text import TextEncoders, end_to_end
from gesso.sdxl.vae import Vae
from tests.tiny import write_tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoint") / "base.safetensors")


@pytest.fixture(scope="module")
def encoders(base: Path) -> TextEncoders:
    return load_text_encoders(str(base), CPU, torch.float32)


@pytest.fixture(scope="module")
def vae(base: Path) -> Vae:
    return load_vae(str(base), CPU, torch.float32)


def chunks(text: str) -> tuple[Chunk, ...]:
    return understand(text, 1).schedule[0].chunks


def test_a_base_hears_both_encoders_and_a_refiner_the_second(encoders: TextEncoders) -> None:
    (chunk,) = chunks("a red boat")
    both, second = encoders.encode(chunk, "base"), encoders.encode(chunk, "refiner")
    assert both.context.shape == (77, 8 + 16)
    assert second.context.shape == (77, 16)
    assert torch.equal(both.context[:, 8:], second.context)
    assert torch.equal(both.pooled, second.pooled)


def test_a_long_prompt_is_chunks_end_to_end_and_the_first_ones_pooled_embedding(encoders: TextEncoders) -> None:
    long = chunks("boat " * 100)
    assert len(long) == 2
    first, second = (encoders.encode(chunk, "base") for chunk in long)
    told = end_to_end([first, second])
    assert torch.equal(told.context, torch.cat([first.context, second.context]))
    assert torch.equal(told.pooled, first.pooled)


def test_a_weight_scales_its_words_and_the_mean_is_restored(encoders: TextEncoders) -> None:
    plain = encoders.encode(*chunks("a red boat"), "refiner").context
    weighted = encoders.encode(*chunks("a (red:1.5) boat"), "refiner").context
    expected = plain.clone()
    expected[2] *= 1.5
    expected *= plain.mean() / expected.mean()
    assert torch.allclose(weighted, expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(weighted.mean(), plain.mean(), rtol=1e-4)


def test_sizes_are_told_as_diffusers_tells_them(base: Path) -> None:
    unet = load_unet(str(base), CPU, torch.float32)
    assert unet.size_ids(896, 1152, negative=False) == (1152, 896, 0, 0, 1152, 896)
    refiner = load_unet(str(write_tiny(base.with_name("refiner.safetensors"), "refiner")), CPU, torch.float32)
    assert refiner.size_ids(896, 1152, negative=False) == (1152, 896, 0, 0, 6.0)
    assert refiner.size_ids(896, 1152, negative=True) == (1152, 896, 0, 0, 2.5)


@pytest.mark.parametrize(("width", "height"), [(64, 96), (72, 104), (520, 8)])
def test_any_size_is_the_middle_of_whole_latents(width: int, height: int, vae: Vae) -> None:
    channels, rows, columns = vae.latent_shape(width, height)
    assert (channels, rows, columns) == (4, -(-height // 32), -(-width // 32))
    latent = torch.randn(channels, rows, columns, generator=torch.Generator().manual_seed(0))
    whole = np.frombuffer(vae.decode(latent, columns * 32, rows * 32), np.uint8).reshape(rows * 32, columns * 32, 3)
    picture = np.frombuffer(vae.decode(latent, width, height), np.uint8).reshape(height, width, 3)
    top, left = (rows * 32 - height) // 2, (columns * 32 - width) // 2
    assert np.array_equal(picture, whole[top : top + height, left : left + width])


def test_a_start_image_keeps_its_place_under_the_margins(vae: Vae) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (104, 72, 3), np.uint8)
    padded = np.pad(picture, ((12, 12), (12, 12), (0, 0)), mode="edge")
    ours = vae.encode(picture.tobytes(), 72, 104)
    theirs = vae.encode(padded.tobytes(), 96, 128)
    assert torch.equal(ours.mean, theirs.mean)
    assert ours.deviation.shape == (1, 4, 4, 3)
