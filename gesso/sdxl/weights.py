"""One safetensors file, read part by part under the names its modules use, or written under the file's."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import Architecture, read_architecture
from gesso.sdxl.layout import (
    CLIP_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    clip_name,
    open_clip_name,
    open_clip_prefix,
    unet_name,
    vae_name,
)

# Harmless extras that files in the wild carry inside a part.
_EXTRAS = ("position_ids", "logit_scale")


class WeightsFile:
    """A checkpoint file, open and mapped; tensors are read when a part is filled.

    Raises:
        ServiceUnavailable: the file is missing, is no safetensors file, is cut short, or is no SDXL checkpoint.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if Path(path).is_dir():
            raise ServiceUnavailable(f"{path} is a folder; only single .safetensors files are served so far")
        try:
            self._file = cast(Any, safe_open(path, framework="pt"))
        except FileNotFoundError:
            raise ServiceUnavailable(f"the checkpoint file {path} is not there") from None
        except (SafetensorError, OSError) as error:
            raise ServiceUnavailable(f"{path} is not a whole safetensors file: {error}") from None
        self._keys = frozenset(self._file.keys())
        self.architecture = read_architecture(path, self._file.metadata() or {}, self._keys)

    def fill_unet(self, unet: nn.Module, dtype: torch.dtype) -> None:
        """Give the UNet its weights."""
        config = self.architecture.unet
        self._fill(unet, UNET_PREFIX, lambda name: (unet_name(name, config), None), dtype)

    def fill_vae(self, vae: nn.Module, dtype: torch.dtype) -> None:
        """Give the VAE its weights."""
        config = self.architecture.vae or {}
        self._fill(vae, VAE_PREFIX, lambda name: (vae_name(name, config), None), dtype)

    def fill_text_encoder(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        """Give the first text encoder its weights."""
        self._fill(encoder, CLIP_PREFIX, lambda name: (clip_name(name), None), dtype)

    def fill_text_encoder_2(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        """Give the second text encoder its weights."""
        prefix = open_clip_prefix(self.architecture.kind)

        def name_in_file(name: str) -> tuple[str, int | None]:
            rest, third = open_clip_name(name)
            return prefix + rest, third

        self._fill(encoder, prefix, name_in_file, dtype)

    def _fill(
        self, module: nn.Module, prefix: str, name_in_file: Callable[[str], tuple[str, int | None]], dtype: torch.dtype
    ) -> None:
        wanted = {name: (*name_in_file(name), tensor.shape) for name, tensor in module.state_dict().items()}
        self._check_names({source for source, _, _ in wanted.values()}, prefix)
        state = {name: self._read(*place).to(dtype) for name, place in wanted.items()}
        module.load_state_dict(state, strict=True, assign=True)

    def _check_names(self, wanted: set[str], prefix: str) -> None:
        held = {key for key in self._keys if key.startswith(prefix) and not key.endswith(_EXTRAS)}
        if missing := sorted(wanted - held):
            raise ServiceUnavailable(
                f"{self.path} lacks {len(missing)} weights that it should have, first {missing[0]}"
            )
        if unexpected := sorted(held - wanted):
            raise ServiceUnavailable(
                f"{self.path} has {len(unexpected)} weights that do not belong there, first {unexpected[0]}"
            )

    def _read(self, source: str, third: int | None, shape: torch.Size) -> Tensor:
        tensor: Tensor = self._file.get_tensor(source)
        if third is not None:
            tensor = tensor.chunk(3)[third]
        if source.endswith("text_projection"):
            tensor = tensor.T.contiguous()
        if tensor.dim() == 4 and len(shape) == 2:
            tensor = tensor[:, :, 0, 0]
        if tensor.shape != shape:
            raise ServiceUnavailable(f"{self.path}: {source} is {list(tensor.shape)} where {list(shape)} belongs")
        return tensor


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
    if unet is not None:
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
