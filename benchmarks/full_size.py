"""A checkpoint of SDXL's full size with random weights: speed does not depend on what weights say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from gesso.sdxl.architecture import SDXL_BASE, Architecture
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.vae_network import VaeNetwork
from gesso.sdxl.writing import write_weights

SMALL = replace(
    SDXL_BASE,
    unet=dict(SDXL_BASE.unet or {})
    | {"block_out_channels": [64, 64, 128], "attention_head_dim": [1, 1, 2], "transformer_layers_per_block": [1, 1, 2]},
    vae=dict(SDXL_BASE.vae or {}) | {"block_out_channels": [32, 32, 32, 32]},
    text_encoder=dict(SDXL_BASE.text_encoder or {}) | {"num_hidden_layers": 2},
    text_encoder_2=dict(SDXL_BASE.text_encoder_2 or {}) | {"num_hidden_layers": 2},
)
"""SDXL's form, narrow and shallow."""


def write_full_size(path: Path, shape: Architecture, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a checkpoint of this shape, 7 GB in half precision if it is SDXL's own base."""
    write_weights(path, shape, **_parts(shape), dtype=dtype)


def _parts(shape: Architecture) -> dict[str, Any]:
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return {
            "unet": UnetNetwork(shape.unet or {}),
            "vae": VaeNetwork(shape.vae or {}),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**shape.text_encoder)) if shape.text_encoder else None,
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**(shape.text_encoder_2 or {}))),
        }
