"""Random checkpoints of SDXL's form and next to no size, for tests that need no meaning.

Everything in them is real but the numbers: two text encoders of different widths, a UNet of SDXL's block types with
micro-conditioning, an AutoencoderKL; written to single files and loaded as any other.
"""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from safetensors.torch import save_file
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from gesso.sdxl.architecture import SDXL_BASE, Architecture, Kind, PredictionType
from gesso.sdxl.writing import write_weights

CHANNELS, FACTOR = 4, 32
_FIRST, _SECOND, _ADDED = 8, 16, 8
SHALLOW: dict[str, Any] = dict(SDXL_BASE.vae or {}) | {"block_out_channels": [8, 16, 24, 24], "norm_num_groups": 4}
"""SDXL's VAE but for its widths."""


def _clip(width: int, activation: str) -> dict[str, Any]:
    return {
        "vocab_size": 49408,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "hidden_act": activation,
        "projection_dim": width,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 1,
    }


def architecture(kind: Kind = "base", prediction_type: PredictionType = "epsilon") -> Architecture:
    """A shape of SDXL's form: 4 latent channels, 32 pixels to a latent's side."""
    context = _FIRST + _SECOND if kind == "base" else _SECOND
    return Architecture(
        kind=kind,
        prediction_type=prediction_type,
        force_zeros_for_empty_prompt=kind == "base",
        unet={
            "in_channels": CHANNELS,
            "out_channels": CHANNELS,
            "block_out_channels": [16, 32],
            "layers_per_block": 1,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "attention_head_dim": [2, 4],
            "transformer_layers_per_block": [1, 1],
            "use_linear_projection": True,
            "cross_attention_dim": context,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _ADDED,
            "projection_class_embeddings_input_dim": _SECOND + (6 if kind == "base" else 5) * _ADDED,
            "norm_num_groups": 4,
        },
        vae={
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": ["DownEncoderBlock2D"] * 6,
            "up_block_types": ["UpDecoderBlock2D"] * 6,
            "block_out_channels": [4, 4, 4, 8, 8, 8],
            "layers_per_block": 1,
            "latent_channels": CHANNELS,
            "norm_num_groups": 2,
            "sample_size": 512,
            "scaling_factor": 0.5,
            "force_upcast": False,
        },
        text_encoder=_clip(_FIRST, "quick_gelu") if kind == "base" else None,
        text_encoder_2=_clip(_SECOND, "gelu"),
    )


def build_parts(shape: Architecture, seed: int = 0) -> dict[str, Any]:
    """The networks of a shape, their weights drawn from `seed`: keyword arguments of `write_weights`."""
    torch.manual_seed(seed)
    assert shape.text_encoder_2 is not None
    assert shape.vae is not None
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel.from_config(dict(shape.unet or {})),
        "vae": AutoencoderKL.from_config(dict(shape.vae)),
        "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**shape.text_encoder_2)),
    }
    if shape.text_encoder is not None:
        parts["text_encoder"] = CLIPTextModel(CLIPTextConfig(**shape.text_encoder))
    for part in parts.values():
        part.eval().requires_grad_(False)
        for weight in part.parameters():
            if weight.dim() > 1:
                weight.mul_(1.5)
    return parts


def write_tiny(path: Path, kind: Kind = "base", prediction_type: PredictionType = "epsilon", seed: int = 0) -> Path:
    """A whole random checkpoint in float32 at `path`."""
    shape = architecture(kind, prediction_type)
    write_weights(path, shape, **build_parts(shape, seed), dtype=torch.float32)
    return path


def write_tiny_folder(
    folder: Path,
    kind: Kind = "base",
    prediction_type: PredictionType = "epsilon",
    variant: str | None = None,
    shard_size: str = "1GB",
) -> Path:
    """The same weights as `write_tiny`'s, in diffusers' layout, as its pipelines save themselves."""
    shape = architecture(kind, prediction_type)
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if kind == "base" else "StableDiffusionXLImg2ImgPipeline",
        "force_zeros_for_empty_prompt": shape.force_zeros_for_empty_prompt,
        "text_encoder": [None, None],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }
    for name, part in build_parts(shape).items():
        library = "transformers" if name.startswith("text") else "diffusers"
        index[name] = [library, type(part).__name__]
        part = part.half() if variant == "fp16" else part
        part.save_pretrained(folder / name, variant=variant, max_shard_size=shard_size)
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction_type
    ).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_tiny_lora(path: Path, seed: int = 0) -> Path:
    """A random LoRA for the tiny base, in kohya's layout: it changes the UNet and both text encoders."""
    generator = torch.Generator().manual_seed(seed)
    parts = build_parts(architecture())
    tensors = {}
    for name, part, ends in (
        ("unet", parts["unet"], ("attn1.to_q", "attn2.to_v", "ff.net.2", "conv1")),
        ("te1", parts["text_encoder"], ("mlp.fc1",)),
        ("te2", parts["text_encoder_2"], ("self_attn.v_proj",)),
    ):
        for module_name, module in part.named_modules():
            if module_name.endswith(ends):
                out, *rest = module.weight.shape
                target = f"lora_{name}_{module_name.replace('.', '_')}"
                tensors[f"{target}.lora_down.weight"] = torch.randn((2, *rest), generator=generator)
                up = torch.randn((out, 2, *(1 for _ in rest[1:])), generator=generator)
                tensors[f"{target}.lora_up.weight"] = 0.1 * up
    save_file(tensors, path)
    return path
