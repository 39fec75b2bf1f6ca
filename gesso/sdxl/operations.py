"""What SDXL's networks do between their matrix products: torch's own operations, or our kernels on a GPU.

What an operation just made is overwritten by the next: a fresh tensor of a large picture costs a CPU as much as the sum
that is written to it.
"""

from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional

# Where Triton is missing (CUDA on Windows) or other than NVIDIA's GPUs are meant (ROCm), torch's operations do.
KERNELS = torch.version.cuda is not None and find_spec("triton") is not None
if KERNELS:
    from gesso.sdxl import kernels

LARGEST, LEAST_PEAK = 448.0, 1e-12
"""The largest number of float8_e4m3fn; and what the largest of a row counts as at least, so that zeros have a scale."""


def convolve(source: Tensor, conv: nn.Conv2d, shift: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """`conv`, 3 x 3 padded by 1, of [rows, channels, h, w], plus `shift` [rows, out channels], plus `added`."""
    if KERNELS and source.is_cuda:
        return kernels.convolve(source, conv, shift, added)
    convolved: Tensor = conv(source)
    if shift is not None:
        convolved += shift[:, :, None, None]
    if added is not None:
        convolved += added
    return convolved


def group_norm(source: Tensor, norm: nn.GroupNorm, silu: bool) -> Tensor:
    """`norm` of [rows, channels, h, w], with SiLU behind it where that is asked for."""
    if KERNELS and source.is_cuda:
        return kernels.group_norm(source, norm, silu)
    normal: Tensor = norm(source)
    return functional.silu(normal, inplace=True) if silu else normal


def layer_norm(tokens: Tensor, added: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """`tokens + added` (or `tokens` alone) and `norm` of that, all [..., width]."""
    if KERNELS and tokens.is_cuda:
        return kernels.layer_norm(tokens, added, norm)
    summed = tokens if added is None else tokens + added
    return summed, norm(summed)


def in_eight_bits(rows: Tensor) -> tuple[Tensor, Tensor]:
    """[rows, width] in float8_e4m3fn, and each row's scale, [rows, 1] float32, times which it is what it was.

    A row with a number in it that is none or infinite has such numbers afterwards, too.
    """
    if KERNELS and rows.is_cuda:
        return kernels.in_eight_bits(rows, LARGEST, LEAST_PEAK)
    scales = rows.abs().amax(dim=1, keepdim=True).float().clamp(min=LEAST_PEAK) / LARGEST
    return (rows / scales).to(torch.float8_e4m3fn), scales


def multiply(rows: Tensor, scales: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """`rows` [rows, width] times `weight` [outputs, width], both of 8 bits, times their scales [rows, 1] and [outputs],
    plus `bias` [outputs]: [rows, outputs] bfloat16. Summed in float32 or nearly so, and rounded once."""
    if rows.is_cuda:
        return torch._scaled_mm(
            rows, weight.t(), scales, scale[None], bias, out_dtype=torch.bfloat16, use_fast_accum=True
        )
    # torch._scaled_mm takes scales of rows on a CPU, too, from 2.13 on.
    product = functional.linear(rows.float(), weight.float()).mul_(scales).mul_(scale)
    return (product if bias is None else product.add_(bias)).to(torch.bfloat16)


def gated(source: Tensor) -> Tensor:
    """[..., 2 * width] -> [..., width]: the first half, times GELU of the second (GEGLU, Shazeer 2020,
    https://arxiv.org/abs/2002.05202)."""
    if KERNELS and source.is_cuda:
        return kernels.gated(source)
    value, gate = source.chunk(2, dim=-1)
    return functional.gelu(gate).mul_(value)
