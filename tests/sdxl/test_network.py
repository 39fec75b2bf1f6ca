"""Our UNet is diffusers': the same weights under the same names, and the same predictions."""

import re
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from gesso.sdxl.architecture import SDXL_BASE, SDXL_REFINER, Architecture
from gesso.sdxl.network import SHAPE, UnetNetwork
from tests.tiny import architecture

DEEP: dict[str, Any] = dict(architecture("base").unet) | {
    "block_out_channels": [8, 16, 24],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [1, 2, 3],
    "transformer_layers_per_block": [1, 2, 3],
}
"""SDXL's base but for its widths: three levels, the first without attention, deeper and deeper transformers."""

REFINING: dict[str, Any] = dict(architecture("refiner").unet) | {
    "block_out_channels": [8, 16, 24, 24],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [1, 2, 3, 3],
    "transformer_layers_per_block": [2, 2, 2, 2],
}
"""The refiner's form: the coarsest level attends in its middle alone."""


@pytest.mark.parametrize("shape", [SDXL_BASE, SDXL_REFINER, architecture()], ids=["base", "refiner", "tiny"])
def test_weights_have_diffusers_names_and_shapes(shape: Architecture) -> None:
    with torch.device("meta"):
        ours, theirs = UnetNetwork(shape.unet), UNet2DConditionModel.from_config(dict(shape.unet))
    expected = {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert {name: weight.shape for name, weight in ours.state_dict().items()} == expected


@pytest.mark.parametrize("config", [dict(architecture().unet), DEEP, REFINING], ids=["tiny", "base", "refiner"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14), (16, 6)])
@torch.no_grad()
def test_predictions_are_diffusers(config: dict[str, Any], height: int, width: int) -> None:
    torch.manual_seed(0)
    theirs = UNet2DConditionModel.from_config(config).eval()
    ours = UnetNetwork(config).eval()
    ours.load_state_dict(theirs.state_dict())
    rows = 3
    ids = 6 if config["cross_attention_dim"] == 24 else 5
    latents = torch.randn(rows, 4, height, width)
    timesteps = torch.tensor([999.0, 500.25, 1.0])
    context = torch.randn(rows, 154, config["cross_attention_dim"])
    pooled = torch.randn(rows, 16)
    size_ids = torch.randint(0, 2000, (rows, ids)).float()
    expected = theirs(
        latents,
        timesteps,
        encoder_hidden_states=context,
        added_cond_kwargs={"text_embeds": pooled, "time_ids": size_ids},
    ).sample
    predicted = ours(latents, ours.shifts(timesteps, pooled, size_ids), context)
    assert predicted.shape == expected.shape
    assert (predicted - expected).abs().max() <= 1e-5 * expected.abs().max()


FOREIGN: dict[str, Any] = {
    "act_fn": "gelu",
    "attention_head_dim": 2,
    "center_input_sample": True,
    "cross_attention_norm": "layer_norm",
    "layers_per_block": [1, 1],
    "mid_block_type": None,
    "num_attention_heads": [2, 4],
    "time_embedding_act_fn": "silu",
    "transformer_layers_per_block": [1],
}
"""What diffusers' UNet can also be, and SDXL's never is."""


@pytest.mark.parametrize("option", FOREIGN)
def test_a_unet_of_another_kind_is_refused_by_the_option_that_tells(option: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{option} = {FOREIGN[option]!r} is not SDXL's")):
        UnetNetwork(dict(architecture().unet) | {option: FOREIGN[option]})


@pytest.mark.parametrize("option", SHAPE)
def test_a_shape_that_lacks_an_option_is_refused_by_its_name(option: str) -> None:
    config = {name: value for name, value in architecture().unet.items() if name != option}
    with pytest.raises(ValueError, match=f"shape needs {option} too"):
        UnetNetwork(config)


def test_a_configuration_written_out_in_full_as_diffusers_does_is_sdxls() -> None:
    """With an option that is off said to be null or false, as Stability's own file does."""
    full = dict(UNet2DConditionModel.from_config(dict(architecture().unet)).config) | {"upcast_attention": None}
    assert len(full) > 2 * len(architecture().unet)
    assert UnetNetwork(full).state_dict().keys() == UnetNetwork(architecture().unet).state_dict().keys()
