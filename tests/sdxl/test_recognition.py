"""A single file is told by its header; what it says of itself is believed only as far as it can be served."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import METADATA_KEY, SDXL_BASE, SDXL_REFINER, SDXL_VAE, Architecture
from gesso.sdxl.layout import CLIP_PREFIX, VAE_PREFIX, clip_name, open_clip_prefix, unet_name
from gesso.sdxl.recognition import Shapes, recognise
from gesso.sdxl.writing import open_clip_tensors, vae_tensors
from tests.tiny import architecture

FULL_SIZE = pytest.mark.parametrize("shape", [SDXL_BASE, SDXL_REFINER], ids=["base", "refiner"])


def header(shape: Architecture) -> dict[str, tuple[int, ...]]:
    """What a whole file of this shape has in its header, made without its weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(shape.unet or {}))
        vae = AutoencoderKL.from_config(dict(shape.vae or {}))
        second = CLIPTextModelWithProjection(CLIPTextConfig(**(shape.text_encoder_2 or {})))
        first = CLIPTextModel(CLIPTextConfig(**shape.text_encoder)) if shape.text_encoder else None
    tensors = {unet_name(name, shape.unet or {}): weight for name, weight in unet.state_dict().items()}
    tensors |= dict(vae_tensors(vae, shape.vae or {}))
    tensors |= dict(open_clip_tensors(second, open_clip_prefix(shape.kind)))
    tensors |= {clip_name(name): weight for name, weight in first.state_dict().items()} if first else {}
    return {name: tuple(weight.shape) for name, weight in tensors.items()}


@pytest.fixture(scope="module")
def base() -> Shapes:
    return header(SDXL_BASE)


def without(shapes: Shapes, prefix: str) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not name.startswith(prefix)}


@FULL_SIZE
def test_a_whole_file_is_told_by_its_tensors(shape: Architecture) -> None:
    assert recognise("f", header(shape), {}) == shape


def test_parts_that_are_not_there_are_left_to_other_files(base: Shapes) -> None:
    assert recognise("f", without(base, VAE_PREFIX), {}) == replace(SDXL_BASE, vae=None)
    bare = recognise("f", without(base, "conditioner."), {})
    assert bare == replace(SDXL_BASE, text_encoder=None, text_encoder_2=None)
    assert recognise("f", without(base, CLIP_PREFIX), {}) == replace(SDXL_BASE, text_encoder=None)


@pytest.mark.parametrize("prefix", [VAE_PREFIX, ""])
def test_a_vae_alone_is_a_vae(prefix: str, base: Shapes) -> None:
    names = {name: shape for name, shape in base.items() if name.startswith(VAE_PREFIX)}
    assert recognise("f", {prefix + name.removeprefix(VAE_PREFIX): names[name] for name in names}, {}) == SDXL_VAE


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight"], "a LoRA"),
        (["unet.down_blocks.1.attentions.0.proj_in.lora_A.weight"], "a LoRA"),
        (["lora_te1_text_model_encoder_layers_0_mlp_fc1.hada_w1_a"], "a LoRA"),
        (["control_model.time_embed.0.weight", "control_model.input_hint_block.0.weight"], "a ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "a ControlNet"),
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "an IP-Adapter"),
        (["clip_g", "clip_l"], "an embedding"),
        (
            [
                "model.diffusion_model.time_embed.0.weight",
                "cond_stage_model.transformer.text_model.final_layer_norm.bias",
            ],
            "a Stable Diffusion 1 checkpoint",
        ),
        (
            ["model.diffusion_model.time_embed.0.weight", "cond_stage_model.model.ln_final.bias"],
            "a Stable Diffusion 2 checkpoint",
        ),
        (
            ["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "first_stage_model.decoder.conv_in.bias"],
            "a Stable Diffusion 3 checkpoint",
        ),
        (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "a Flux checkpoint"),
        (["double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"], "a Flux checkpoint"),
        (["transformer_blocks.0.attn.to_q.weight"], "a diffusion transformer"),
        (["conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "the UNet of a diffusers folder"),
    ],
)
def test_what_is_no_sdxl_checkpoint_is_refused_by_its_name(names: list[str], what: str) -> None:
    with pytest.raises(ServiceUnavailable, match=f"^f is {what}"):
        recognise("f", dict.fromkeys(names, (1, 1)), {})


def test_anything_else_is_refused_too() -> None:
    with pytest.raises(ServiceUnavailable, match=r"^f has neither an SDXL UNet nor a VAE"):
        recognise("f", {"weight": (1,)}, {})


@pytest.mark.parametrize(("channels", "what"), [(9, "an inpainting model"), (8, "an image-editing model")])
def test_a_unet_that_takes_more_than_a_latent_is_refused(channels: int, what: str, base: Shapes) -> None:
    shapes = {**base, "model.diffusion_model.input_blocks.0.0.weight": (320, channels, 3, 3)}
    with pytest.raises(ServiceUnavailable, match=f"^f is {what}.*: its UNet takes {channels} channels"):
        recognise("f", shapes, {})


def test_a_unet_that_is_not_told_of_sizes_is_refused(base: Shapes) -> None:
    with pytest.raises(ServiceUnavailable, match="neither SDXL's base nor its refiner"):
        recognise("f", without(base, "model.diffusion_model.label_emb."), {})


@pytest.mark.parametrize(
    ("markers", "prediction_type", "zero_terminal_snr"),
    [((), "epsilon", False), (("v_pred",), "v_prediction", False), (("v_pred", "ztsnr"), "v_prediction", True)],
)
def test_the_communitys_markers_are_heeded(
    markers: tuple[str, ...], prediction_type: str, zero_terminal_snr: bool, base: Shapes
) -> None:
    """Tensors of no network, empty or of one element."""
    for shape in ((0,), (1,), ()):
        known = recognise("f", {**base, **dict.fromkeys(markers, shape)}, {})
        assert (known.prediction_type, known.zero_terminal_snr) == (prediction_type, zero_terminal_snr)


@pytest.mark.parametrize(
    ("stated", "markers", "prediction_type"),
    [
        ("v", (), "v_prediction"),
        ("epsilon", (), "epsilon"),
        ("velocity", ("ztsnr",), "v_prediction"),
        ("epsilon", ("v_pred",), "v_prediction"),
    ],
)
def test_a_trainers_metadata_is_heeded_where_no_marker_says_otherwise(
    stated: str, markers: tuple[str, ...], prediction_type: str, base: Shapes
) -> None:
    shapes = {**base, **dict.fromkeys(markers, (1,))}
    assert recognise("f", shapes, {"modelspec.prediction_type": stated}).prediction_type == prediction_type


def test_a_prediction_that_is_not_served_is_refused_by_its_name(base: Shapes) -> None:
    with pytest.raises(ServiceUnavailable, match="said to predict 'sample'"):
        recognise("f", base, {"modelspec.prediction_type": "sample"})


@pytest.mark.parametrize("markers", [{"edm_mean"}, {"edm_vpred.sigma_max"}, {"v_pred", "edm_vpred.sigma_max"}])
def test_a_marker_of_a_training_that_is_not_served_is_refused(markers: set[str], base: Shapes) -> None:
    with pytest.raises(ServiceUnavailable, match=r"marked edm_\S+: such models are not served"):
        recognise("f", {**base, **dict.fromkeys(markers, (1,))}, {})


def test_pure_noise_without_v_prediction_is_refused(base: Shapes) -> None:
    with pytest.raises(ServiceUnavailable, match=r"marked ztsnr and not v_pred: .* cannot predict epsilon"):
        recognise("f", {**base, "ztsnr": (1,)}, {})
    with pytest.raises(ServiceUnavailable, match=r"f says of its shape .* said to predict epsilon"):
        recognise("f", {}, {METADATA_KEY: json.dumps(stated() | {"zero_terminal_snr": True})})


def stated() -> dict[str, object]:
    """What a file of the tests' own shape says of it."""
    statement: dict[str, object] = json.loads(architecture().to_metadata()[METADATA_KEY])
    return statement


def test_a_shape_that_says_nothing_of_pure_noise_never_saw_it() -> None:
    silent = stated()
    del silent["zero_terminal_snr"]
    assert not recognise("f", {}, {METADATA_KEY: json.dumps(silent)}).zero_terminal_snr


@pytest.mark.parametrize(("option", "value"), [("kind", "inpainting"), ("prediction_type", "sample")])
def test_a_kind_or_prediction_that_is_not_served_is_refused(option: str, value: str) -> None:
    with pytest.raises(ServiceUnavailable, match=f"f says of its shape .*'{value}' is none of "):
        recognise("f", {}, {METADATA_KEY: json.dumps(stated() | {option: value})})
