"""Normalisations that read their input as seldom as can be, and sum it in an order that one row alone decides."""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

CHUNKS = 64
"""Pixels are summed in so many chunks, or in chunks of `LEAST`."""

LEAST = 64
"""Pixels of a chunk, at least."""


@triton.jit(do_not_specialize=["pixels", "chunk"])
def _moments(
    source, means, squares, pixels, chunk, channels,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared distances from it, of one chunk of one row's pixels, channel by channel."""
    row, part, number = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    begin = part * chunk
    end = min(begin + chunk, pixels)
    base = source + row.to(tl.int64) * pixels * channels
    # Distances from the chunk's first pixel: sums of squares about 0 would lose what is small beside the mean.
    pivot = tl.load(base + begin * channels + channel, mask=known, other=0.0).to(tl.float32)
    summed = tl.zeros((CHANNELS,), dtype=tl.float32)
    squared = tl.zeros((CHANNELS,), dtype=tl.float32)
    for start in range(begin, end, PIXELS):
        pixel = start + tl.arange(0, PIXELS).to(tl.int64)
        mask = (pixel < end)[:, None] & known[None, :]
        value = tl.load(base + pixel[:, None] * channels + channel[None, :], mask=mask, other=0.0).to(tl.float32)
        distance = tl.where(mask, value - pivot[None, :], 0.0)
        summed += tl.sum(distance, axis=0)
        squared += tl.sum(distance * distance, axis=0)
    count = (end - begin).to(tl.float32)
    place = (row * number + part) * channels + channel
    tl.store(means + place, pivot + summed / count, mask=known)
    tl.store(squares + place, squared - summed * summed / count, mask=known)


@triton.jit(do_not_specialize=["pixels", "chunk", "chunks"])
def _affine(
    means, squares, weight, bias, scales, offsets, pixels, chunk, chunks, channels, eps,
    GROUP: tl.constexpr, WIDE: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """A group's chunks together (Chan, Golub and LeVeque 1979): each channel's factor, and what is added to it."""
    row, group = tl.program_id(0), tl.program_id(1)
    part, lane = tl.arange(0, PARTS), tl.arange(0, WIDE)
    channel = group * GROUP + lane
    mask = (part < chunks)[:, None] & (lane < GROUP)[None, :]
    place = (row * chunks + part)[:, None] * channels + channel[None, :]
    mean = tl.load(means + place, mask=mask, other=0.0)
    square = tl.load(squares + place, mask=mask, other=0.0)
    count = tl.where(mask, tl.minimum(chunk, pixels - part * chunk)[:, None], 0).to(tl.float32)
    total = (pixels * GROUP).to(tl.float32)
    centre = tl.sum(mean * count) / total
    spread = tl.sum(square + count * (mean - centre) * (mean - centre)) / total
    known = lane < GROUP
    scale = tl.load(weight + channel, mask=known, other=0.0).to(tl.float32) / tl.sqrt(spread + eps)
    offset = tl.load(bias + channel, mask=known, other=0.0).to(tl.float32) - centre * scale
    tl.store(scales + row * channels + channel, scale, mask=known)
    tl.store(offsets + row * channels + channel, offset, mask=known)


@triton.jit(do_not_specialize=["pixels"])
def _apply(
    source, scales, offsets, out, pixels, channels,
    SILU: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)
    row = tl.program_id(1)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    mask = (pixel < pixels)[:, None] & known[None, :]
    place = (row * pixels + pixel[:, None]) * channels + channel[None, :]
    scale = tl.load(scales + row * channels + channel, mask=known, other=0.0)
    offset = tl.load(offsets + row * channels + channel, mask=known, other=0.0)
    value = tl.load(source + place, mask=mask, other=0.0).to(tl.float32) * scale[None, :] + offset[None, :]
    if SILU:
        value = value * tl.sigmoid(value)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=mask)


def group_norm(source: Tensor, norm: nn.GroupNorm, silu: bool) -> Tensor:
    """`norm` of [rows, channels, h, w], channels last in and out, with SiLU behind it where that is asked for."""
    source = source.contiguous(memory_format=torch.channels_last)
    rows, channels, height, width = source.shape
    pixels = height * width
    chunk = max(LEAST, triton.cdiv(pixels, CHUNKS))
    chunks = triton.cdiv(pixels, chunk)
    lanes = 64 if channels % 64 == 0 else 32
    blocks = triton.cdiv(channels, lanes)
    means, squares = (torch.empty(rows, chunks, channels, dtype=torch.float32, device=source.device) for _ in range(2))
    scales, offsets = (torch.empty(rows, channels, dtype=torch.float32, device=source.device) for _ in range(2))
    _moments[(rows, chunks, blocks)](
        source, means, squares, pixels, chunk, channels, PIXELS=32, CHANNELS=lanes, num_warps=4
    )
    group = channels // norm.num_groups
    _affine[(rows, norm.num_groups)](
        means, squares, norm.weight, norm.bias, scales, offsets, pixels, chunk, chunks, channels, norm.eps,
        GROUP=group, WIDE=triton.next_power_of_2(group), PARTS=CHUNKS, num_warps=4,
    )  # fmt: skip
    out = torch.empty_like(source)
    _apply[(triton.cdiv(pixels, 64), rows, blocks)](  # only the first may be more than 65535
        source, scales, offsets, out, pixels, channels, SILU=silu, PIXELS=64, CHANNELS=lanes, num_warps=4
    )
    return out


@triton.jit
def _layer_norm(
    source, added, weight, bias, summed, out, width, eps,
    ADDS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, WIDE)
    known = lane < width
    place = token * width + lane
    value = tl.load(source + place, mask=known, other=0.0).to(tl.float32)
    if ADDS:
        rounded = (value + tl.load(added + place, mask=known, other=0.0).to(tl.float32)).to(summed.dtype.element_ty)
        tl.store(summed + place, rounded, mask=known)
        value = rounded.to(tl.float32)
    mean = tl.sum(value) / width
    distance = tl.where(known, value - mean, 0.0)
    spread = tl.sum(distance * distance) / width
    normal = distance / tl.sqrt(spread + eps)
    gain = tl.load(weight + lane, mask=known, other=0.0).to(tl.float32)
    offset = tl.load(bias + lane, mask=known, other=0.0).to(tl.float32)
    tl.store(out + place, (normal * gain + offset).to(out.dtype.element_ty), mask=known)


def layer_norm(tokens: Tensor, added: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """`tokens + added` (or `tokens` alone) and `norm` of that, all [..., width]."""
    tokens = tokens.contiguous()
    width = tokens.shape[-1]
    out = torch.empty_like(tokens)
    summed = tokens if added is None else torch.empty_like(tokens)
    _layer_norm[(tokens.numel() // width,)](
        tokens, tokens if added is None else added.contiguous(), norm.weight, norm.bias, summed, out, width, norm.eps,
        ADDS=added is not None, WIDE=triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    return summed, out
