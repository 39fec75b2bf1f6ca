"""The networks an engine paints with, loaded when first needed and kept as long as memory allows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from gesso.engine.messages import CheckpointFiles
from gesso.engine.residency import Residency
from gesso.errors import ServiceUnavailable
from gesso.prompt.chunks import Chunk
from gesso.sdxl.architecture import Kind
from gesso.sdxl.checkpoint import load_text_encoders, load_unet, load_vae
from gesso.sdxl.text import Conditioning, TextEncoders
from gesso.sdxl.unet import Unet
from gesso.sdxl.vae import Vae

REMEMBERED_PROMPTS = 256 * 2**20
"""Bytes of encoded prompts that are kept."""

Network = Unet | TextEncoders | Vae
Precision = Literal["auto", "float32", "bfloat16"]


class Models:
    """Networks by file, on one device and in one precision, and the prompts that were last encoded."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        torch.backends.cudnn.deterministic = True  # no algorithm that sums in whatever order its threads come by
        self.device = device
        self._dtype = dtype
        self._networks: Residency[Network] = Residency(_budget(device), _size)
        self._conditionings: Residency[Conditioning] = Residency(REMEMBERED_PROMPTS, _size_of_conditioning)

    def take_unet(self, files: CheckpointFiles, kind: Kind) -> Unet:
        """The checkpoint's UNet, which must be of this kind, in use until it is given back.

        Raises:
            ServiceUnavailable: names the file and what is wrong with it.
        """
        unet = self._networks.take(("unet", files.unet), lambda: load_unet(files.unet, self.device, self._dtype))
        assert isinstance(unet, Unet)
        if unet.kind != kind:
            self.give_unet_back(files)
            raise ServiceUnavailable(f"{files.unet} is a {unet.kind}, and a {kind} is needed here")
        return unet

    def give_unet_back(self, files: CheckpointFiles) -> None:
        """One image less needs the checkpoint's UNet."""
        self._networks.give_back(("unet", files.unet))

    @contextmanager
    def vae(self, files: CheckpointFiles) -> Iterator[Vae]:
        """The checkpoint's VAE, for the block; raises as `take_unet` does."""
        path = files.vae or files.unet
        with self._networks.using(("vae", path), lambda: load_vae(path, self.device, self._dtype)) as vae:
            assert isinstance(vae, Vae)
            yield vae

    def conditioning(self, files: CheckpointFiles, kind: Kind, chunk: Chunk) -> Conditioning:
        """What a UNet of this kind is told of one chunk of a prompt; raises as `take_unet` does."""
        path = files.text_encoders or files.unet

        def encode() -> Conditioning:
            with self._networks.using(("text", path), load) as encoders:
                assert isinstance(encoders, TextEncoders)
                return encoders.encode(chunk, kind, files.clip_skip)

        def load() -> TextEncoders:
            return load_text_encoders(path, self.device, self._dtype)

        with self._conditionings.using((path, kind, files.clip_skip, chunk), encode) as conditioning:
            return conditioning

    def claim(self, size: int) -> None:
        """So many bytes are taken by what requests hold; networks that nobody uses make room for it."""
        self._networks.claim(size)

    def disclaim(self, size: int) -> None:
        """They are free again."""
        self._networks.disclaim(size)


def choose_device(wanted: str) -> torch.device:
    """The device a setting means: `auto` is the first GPU, or the CPU."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def choose_dtype(wanted: Precision, device: torch.device) -> torch.dtype:
    """The precision a setting means: `auto` is bfloat16 wherever the hardware computes in it, else float32."""
    if wanted != "auto":
        return torch.float32 if wanted == "float32" else torch.bfloat16
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def _budget(device: torch.device) -> int:
    """Bytes that networks may take: most of a GPU, or half of the machine's memory."""
    if device.type == "cuda":
        return int(0.8 * torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _size(network: Network) -> int:
    modules = [network.first, network.second] if isinstance(network, TextEncoders) else [network.network]
    return sum(weight.numel() * weight.element_size() for module in modules if module for weight in module.parameters())


def _size_of_conditioning(conditioning: Conditioning) -> int:
    return sum(part.numel() * part.element_size() for part in (conditioning.context, conditioning.pooled))
