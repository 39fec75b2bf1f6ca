"""The file's names are Stability's: held against the conversions that ship with diffusers, at full size."""

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

from gesso.sdxl.architecture import SDXL_BASE, SDXL_REFINER, Architecture
from gesso.sdxl.layout import open_clip_prefix, unet_name, vae_name
from gesso.sdxl.writing import open_clip_tensors, vae_tensors
from tests.tiny import architecture


def on_meta(shape: Architecture) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModelWithProjection]:
    with torch.device("meta"):
        return (
            UNet2DConditionModel.from_config(dict(shape.unet or {})),
            AutoencoderKL.from_config(dict(shape.vae or {})),
            CLIPTextModelWithProjection(CLIPTextConfig(**(shape.text_encoder_2 or {}))),
        )


SHAPES = pytest.mark.parametrize(
    "shape", [SDXL_BASE, SDXL_REFINER, architecture("base"), architecture("refiner")], ids=["base", "refiner", "a", "b"]
)


@SHAPES
def test_unet_names_are_those_that_diffusers_reads(shape: Architecture) -> None:
    names = on_meta(shape)[0].state_dict().keys()
    in_file = {unet_name(name, shape.unet or {}): name for name in names}
    assert len(in_file) == len(names)
    assert convert_ldm_unet_checkpoint(in_file, shape.unet) == {name: name for name in names}


@SHAPES
def test_vae_names_and_shapes_are_those_that_diffusers_reads(shape: Architecture) -> None:
    vae = on_meta(shape)[1]
    in_file = dict(vae_tensors(vae, shape.vae or {}))
    read = convert_ldm_vae_checkpoint(in_file, shape.vae)
    assert {name: weight.shape for name, weight in read.items()} == {
        name: weight.shape for name, weight in vae.state_dict().items()
    }
    assert set(in_file) == {vae_name(name, shape.vae or {}) for name in vae.state_dict()}


def test_open_clip_tensors_are_those_that_diffusers_reads() -> None:
    shape = architecture("base")
    encoder = CLIPTextModelWithProjection(CLIPTextConfig(**(shape.text_encoder_2 or {})))
    prefix = open_clip_prefix("base")
    read = convert_open_clip_checkpoint(encoder, dict(open_clip_tensors(encoder, prefix)), prefix=prefix)
    expected = encoder.state_dict()
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], expected[name]) for name in expected)


def test_the_shapes_are_sdxls() -> None:
    """Parameters as published: 2.57 billion in the base's UNet, 2.26 in the refiner's."""
    assert sum(weight.numel() for weight in on_meta(SDXL_BASE)[0].parameters()) == 2_567_463_684
    assert sum(weight.numel() for weight in on_meta(SDXL_REFINER)[0].parameters()) == 2_259_526_660
