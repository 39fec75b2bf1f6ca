"""A preview of a latent looks like its picture, for a VAE that has learnt something, and is made for any."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

import gesso.mini
from gesso.mini.latents import CELL, latents_of
from gesso.mini.world.composition import compose, whole
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import Mixture, sample_scene
from gesso.sdxl.checkpoint import load_vae
from gesso.sdxl.colours import fit_colours
from gesso.sdxl.vae import Vae
from gesso.sdxl.vae_network import VaeNetwork
from tests.tiny import architecture

CPU = torch.device("cpu")
EMBEDDED = Path(gesso.mini.__file__).parent / "weights" / "base.safetensors"


@pytest.fixture(scope="module")
def vae() -> Vae:
    return load_vae(str(EMBEDDED), CPU, torch.float32)


def random_vae(factor: int) -> Vae:
    """One of 4 channels that has learnt nothing."""
    torch.manual_seed(0)
    widths = [4] * factor.bit_length()
    network = VaeNetwork(dict(architecture().vae or {}) | {"block_out_channels": widths})
    return Vae(network.eval().requires_grad_(False))


def true_latent(seed: int) -> Tensor:
    """[24, 8, 10] of a drawn picture, flat, that no preview was fitted to."""
    rng = random.Random(seed)
    picture = compose(sample_scene(rng, Mixture(plain=1.0)), 320, 256, rng)
    return latents_of(avg_pool2d(render(picture, whole(picture, 1))[None], CELL))[0]


def decoded(vae: Vae, latent: Tensor, pixel: int) -> Tensor:
    """[height/pixel, width/pixel, 3] in 0..1: the latent's picture, made small."""
    height, width = (vae.factor * cells for cells in latent.shape[1:])
    rgb = torch.frombuffer(bytearray(vae.decode(latent, width, height)), dtype=torch.uint8).view(height, width, 3)
    return avg_pool2d(rgb.permute(2, 0, 1) / 255, pixel).permute(1, 2, 0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_preview_looks_like_the_picture_made_small(seed: int, vae: Vae) -> None:
    latent = true_latent(seed)
    preview, picture = fit_colours(vae, CPU).preview(latent) / 255, decoded(vae, latent, 16)
    assert preview.shape == picture.shape == (16, 20, 3)
    likeness = torch.corrcoef(torch.stack([preview.flatten(), picture.flatten()]))[0, 1]
    assert likeness > 0.99
    assert (preview - picture).square().mean() < 10 ** (-25 / 10), "25 dB"


def test_the_colours_are_the_same_whenever_they_are_asked_for(vae: Vae) -> None:
    first, state = fit_colours(vae, CPU), torch.get_rng_state()
    second = fit_colours(vae, CPU)
    assert torch.equal(first.weights, second.weights)
    assert torch.equal(first.offset, second.offset)
    assert torch.equal(torch.get_rng_state(), state), "nobody else's noise is drawn"


def test_what_is_too_bright_is_white_and_never_dark(vae: Vae) -> None:
    colours = fit_colours(vae, CPU)
    direction = colours.weights[:, :, 0, 0].pinverse() @ torch.ones(len(colours.offset))
    assert (colours.preview(1000 * direction[:, None, None]) == 255).all()
    assert (colours.preview(-1000 * direction[:, None, None]) == 0).all()


@pytest.mark.parametrize(("factor", "pixels"), [(8, 1), (16, 1), (32, 2)])
def test_a_preview_has_a_pixel_for_at_most_sixteen_of_the_picture(factor: int, pixels: int) -> None:
    preview = fit_colours(random_vae(factor), CPU).preview(torch.randn(4, 3, 5))
    assert preview.shape == (3 * pixels, 5 * pixels, 3)
    assert preview.dtype == torch.uint8
