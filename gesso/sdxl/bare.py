"""A checkpoint's networks as its shape says, without weights yet."""

import torch
from torch import nn
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from gesso.sdxl.architecture import Architecture
from gesso.sdxl.folder import Part
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.vae_network import VaeNetwork


def bare_network(part: Part, shape: Architecture) -> nn.Module | None:
    """The network of that part, on torch's meta device; None where a checkpoint of this shape has no such part.

    Raises ValueError for a UNet or a VAE that is not SDXL's.
    """
    network: nn.Module | None = None
    with torch.device("meta"):
        if part == "unet" and shape.unet is not None:
            network = UnetNetwork(shape.unet)
        if part == "vae" and shape.vae is not None:
            network = VaeNetwork(shape.vae)
        if part == "text_encoder" and shape.text_encoder is not None:
            network = CLIPTextModel(CLIPTextConfig(**shape.text_encoder))
        if part == "text_encoder_2" and shape.text_encoder_2 is not None:
            network = CLIPTextModelWithProjection(CLIPTextConfig(**shape.text_encoder_2))
    return network
