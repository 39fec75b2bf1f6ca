"""A checkpoint's networks as its shape says, without weights yet."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from gesso.sdxl.architecture import Architecture
from gesso.sdxl.eight_bit import with_eight_bits
from gesso.sdxl.folder import Part
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.precision import Precision
from gesso.sdxl.vae_network import VaeNetwork


def bare_unet(config: Mapping[str, Any], precision: Precision) -> UnetNetwork:
    """A UNet on torch's meta device, with weights of the types that they have in this precision.

    Raises ValueError for one that is not SDXL's.
    """
    with torch.device("meta"):
        network = UnetNetwork(config).to(precision.dtype)
    return with_eight_bits(network) if precision.eight_bit else network


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
