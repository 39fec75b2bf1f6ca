"""A checkpoint written as one safetensors file in Stability's layout."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gesso.sdxl.architecture import Architecture
from gesso.sdxl.layout import clip_name, open_clip_name, open_clip_prefix, unet_name, vae_name


def write_weights(
    path: Path,
    architecture: Architecture,
    *,
    unet: nn.Module | None = None,
    text_encoder: nn.Module | None = None,
    text_encoder_2: nn.Module | None = None,
    vae: nn.Module | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write the parts given as one file in Stability's layout, its shape in the metadata."""
    tensors: dict[str, Tensor] = {}
    if unet is not None and architecture.unet is not None:
        tensors |= {unet_name(name, architecture.unet): weight for name, weight in unet.state_dict().items()}
    if vae is not None and architecture.vae is not None:
        tensors |= dict(vae_tensors(vae, architecture.vae))
    if text_encoder is not None:
        tensors |= {clip_name(name): weight for name, weight in text_encoder.state_dict().items()}
    if text_encoder_2 is not None:
        tensors |= dict(open_clip_tensors(text_encoder_2, open_clip_prefix(architecture.kind)))
    stored = {name: weight.detach().to("cpu", dtype).contiguous().clone() for name, weight in tensors.items()}
    save_file(stored, path, metadata=architecture.to_metadata())


def vae_tensors(vae: nn.Module, config: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The VAE's weights as a file has them: attention as 1x1 convolutions."""
    for name, weight in vae.state_dict().items():
        as_convolution = ".attentions." in name and weight.dim() == 2
        yield vae_name(name, config), weight[:, :, None, None] if as_convolution else weight


def open_clip_tensors(encoder: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The second text encoder's weights as a file has them: query, key and value in one, the projection transposed."""
    fused: dict[str, dict[int, Tensor]] = {}
    for name, weight in encoder.state_dict().items():
        rest, third = open_clip_name(name)
        if third is not None:
            fused.setdefault(rest, {})[third] = weight
        else:
            yield prefix + rest, weight.T if rest == "text_projection" else weight
    for rest, thirds in fused.items():
        yield prefix + rest, torch.cat([thirds[i] for i in range(3)])
