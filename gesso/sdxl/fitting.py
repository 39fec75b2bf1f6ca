"""Whether a LoRA fits checkpoints of a shape, without any of their weights."""

import torch
from torch import nn
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from gesso.sdxl.architecture import Architecture
from gesso.sdxl.folder import Part
from gesso.sdxl.lora import Lora
from gesso.sdxl.network import UnetNetwork


def require_fit(lora: Lora, architecture: Architecture) -> None:
    """Raises ServiceUnavailable, naming the first change without a place, unless each has one in such a checkpoint.

    Parts that the checkpoint itself lacks, because others lend them, are not looked at.
    """
    for part in sorted(lora.parts):
        if (network := _bare(part, architecture)) is not None:
            lora.changes(part, network, architecture.unet)


def _bare(part: Part, shape: Architecture) -> nn.Module | None:
    """The network of that part, its weights nowhere."""
    network: nn.Module | None = None
    with torch.device("meta"):
        if part == "unet" and shape.unet is not None:
            network = UnetNetwork(shape.unet)
        if part == "text_encoder" and shape.text_encoder is not None:
            network = CLIPTextModel(CLIPTextConfig(**shape.text_encoder))
        if part == "text_encoder_2" and shape.text_encoder_2 is not None:
            network = CLIPTextModelWithProjection(CLIPTextConfig(**shape.text_encoder_2))
    return network
