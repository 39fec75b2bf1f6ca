"""What SDXL's networks do between their matrix products: torch's own operations, or our kernels on a GPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

if torch.version.cuda:  # with such a torch comes Triton
    from gesso.sdxl import kernels


def convolve(source: Tensor, conv: nn.Conv2d, shift: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """`conv`, 3 x 3 padded by 1, of [rows, channels, h, w], plus `shift` [rows, out channels], plus `added`."""
    if source.is_cuda:
        return kernels.convolve(source, conv, shift, added)
    convolved: Tensor = conv(source)
    if shift is not None:
        convolved = convolved + shift[:, :, None, None]
    return convolved if added is None else added + convolved


def group_norm(source: Tensor, norm: nn.GroupNorm, silu: bool) -> Tensor:
    """`norm` of [rows, channels, h, w], with SiLU behind it where that is asked for."""
    if source.is_cuda:
        return kernels.group_norm(source, norm, silu)
    normal: Tensor = norm(source)
    return functional.silu(normal) if silu else normal


def layer_norm(tokens: Tensor, added: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """The sum of two [..., width], or the one alone, and `norm` of it."""
    if tokens.is_cuda:
        return kernels.layer_norm(tokens, added, norm)
    summed = tokens if added is None else tokens + added
    return summed, norm(summed)


def gated(source: Tensor) -> Tensor:
    """[..., 2 * width] -> [..., width]: the first half, times GELU of the second (GEGLU, Shazeer 2020,
    https://arxiv.org/abs/2002.05202)."""
    if source.is_cuda:
        return kernels.gated(source)
    value, gate = source.chunk(2, dim=-1)
    return value * functional.gelu(gate)
