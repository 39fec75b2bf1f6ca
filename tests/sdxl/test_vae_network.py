"""Our VAE is diffusers': the same weights under the same names, and the same pictures."""

from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from gesso.sdxl.architecture import SDXL_BASE, Architecture
from gesso.sdxl.vae_network import SDXL_ONLY, SHAPE, VaeNetwork
from tests.tiny import SHALLOW, architecture


@pytest.mark.parametrize("shape", [SDXL_BASE, architecture()], ids=["sdxl", "tiny"])
def test_weights_have_diffusers_names_and_shapes(shape: Architecture) -> None:
    config = dict(shape.vae or {})
    with torch.device("meta"):
        ours, theirs = VaeNetwork(config), AutoencoderKL.from_config(config)
    expected = {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert {name: weight.shape for name, weight in ours.state_dict().items()} == expected


@pytest.mark.parametrize("config", [SHALLOW, dict(architecture().vae or {})], ids=["sdxl", "tiny"])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 6)])
@torch.no_grad()
def test_pictures_and_latents_are_diffusers(config: dict[str, Any], height: int, width: int) -> None:
    torch.manual_seed(0)
    theirs = AutoencoderKL.from_config(config).eval()
    ours = VaeNetwork(config).eval()
    ours.load_state_dict(theirs.state_dict())
    latents = torch.randn(2, config["latent_channels"], height, width)
    expected = theirs.decode(latents).sample
    assert (ours(latents) - expected).abs().max() <= 1e-5 * expected.abs().max()
    pictures = torch.rand(2, 3, height * ours.factor, width * ours.factor) * 2 - 1
    posterior = theirs.encode(pictures).latent_dist
    mean, deviation = ours.encode(pictures)
    assert (mean - posterior.mean).abs().max() <= 1e-5 * posterior.mean.abs().max()
    assert (deviation - posterior.std).abs().max() <= 1e-5 * posterior.std.abs().max()


@pytest.mark.parametrize("option", SHAPE)
def test_a_vae_that_does_not_state_its_shape_is_refused_by_what_is_missing(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        VaeNetwork({name: value for name, value in SHALLOW.items() if name != option})


@pytest.mark.parametrize("option", sorted(SDXL_ONLY))
def test_a_vae_that_is_not_sdxls_is_refused_by_the_option_that_differs(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        VaeNetwork(SHALLOW | {option: "another"})
