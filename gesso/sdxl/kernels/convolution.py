"""A 3 x 3 convolution that sums every output in one fixed order, whatever the number of rows.

cuDNN's kernels for these shapes split the sum, or do not, by the number of rows (and some by a row's place), so a
picture's bits would depend on its company. Here it is one matrix product: pixels by output channels, summed over taps
and input channels in their order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor, nn


@triton.jit(do_not_specialize=["rows", "height", "width", "out_height", "out_width"])
def _convolve(
    source, weight, bias, shift, added, out,
    rows, height, width, out_height, out_width, shift_stride,
    channels: tl.constexpr, out_channels: tl.constexpr, stride: tl.constexpr,
    shifts: tl.constexpr, adds: tl.constexpr,
    PIXELS: tl.constexpr, OUTPUTS: tl.constexpr, DEPTH: tl.constexpr, BAND: tl.constexpr,
):  # fmt: skip
    # Programs that read the same pixels run close to one another in time: bands of BAND tiles of pixels.
    pixels = rows * out_height * out_width
    tiles_down, tiles_across = tl.cdiv(pixels, PIXELS), tl.cdiv(out_channels, OUTPUTS)
    number = tl.program_id(0)
    band = number // (BAND * tiles_across)
    first = band * BAND
    deep = min(tiles_down - first, BAND)
    down = first + (number % (BAND * tiles_across)) % deep
    across = (number % (BAND * tiles_across)) // deep

    pixel = down * PIXELS + tl.arange(0, PIXELS)
    column = across * OUTPUTS + tl.arange(0, OUTPUTS)
    depth = tl.arange(0, DEPTH)
    row = pixel // (out_height * out_width)
    y = (pixel // out_width) % out_height * stride - 1
    x = pixel % out_width * stride - 1
    inside = pixel < pixels
    origin = (row.to(tl.int64) * height * width + y * width + x) * channels

    slices: tl.constexpr = (channels + DEPTH - 1) // DEPTH
    total = tl.zeros((PIXELS, OUTPUTS), dtype=tl.float32)
    for step in range(9 * slices):
        tap, begin = step // slices, step % slices * DEPTH
        down_tap, across_tap = tap // 3, tap % 3
        seen = inside & (y + down_tap >= 0) & (y + down_tap < height) & (x + across_tap >= 0) & (x + across_tap < width)
        place = origin + (down_tap * width + across_tap) * channels + begin
        weights = weight + column[None, :] * (9 * channels) + tap * channels + begin + depth[:, None]
        if channels % DEPTH == 0:
            left = tl.load(source + place[:, None] + depth[None, :], mask=seen[:, None], other=0.0)
            right = tl.load(weights, mask=column[None, :] < out_channels, other=0.0)
        else:
            known = begin + depth < channels
            left = tl.load(source + place[:, None] + depth[None, :], mask=seen[:, None] & known[None, :], other=0.0)
            right = tl.load(weights, mask=(column[None, :] < out_channels) & known[:, None], other=0.0)
        total = tl.dot(left, right, total, input_precision="ieee")

    written = inside[:, None] & (column[None, :] < out_channels)
    total += tl.load(bias + column, mask=column < out_channels, other=0.0).to(tl.float32)[None, :]
    if shifts:
        moved = row.to(tl.int64)[:, None] * shift_stride + column[None, :]
        total += tl.load(shift + moved, mask=written, other=0.0).to(tl.float32)
    place = pixel.to(tl.int64)[:, None] * out_channels + column[None, :]
    if adds:
        total += tl.load(added + place, mask=written, other=0.0).to(tl.float32)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=written)


def convolve(source: Tensor, conv: nn.Conv2d, shift: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """`conv`, 3 x 3 padded by 1, of [rows, channels, h, w], plus `shift` [rows, out channels], plus `added`.

    What is returned lies in memory channels last.
    """
    rows, channels, height, width = source.shape
    stride = conv.stride[0]
    out_height, out_width = -(-height // stride), -(-width // stride)
    shape = rows, conv.out_channels, out_height, out_width
    out = torch.empty(shape, dtype=source.dtype, device=source.device, memory_format=torch.channels_last)
    tile = _tile(source.dtype, channels, conv.out_channels)
    grid = triton.cdiv(rows * out_height * out_width, tile["PIXELS"]) * triton.cdiv(conv.out_channels, tile["OUTPUTS"])
    _convolve[(grid,)](
        source.contiguous(memory_format=torch.channels_last),
        conv.weight.contiguous(memory_format=torch.channels_last),
        conv.bias,
        shift if shift is not None else source,
        added.contiguous(memory_format=torch.channels_last) if added is not None else source,
        out,
        rows, height, width, out_height, out_width, shift.stride(0) if shift is not None else 0,
        channels, conv.out_channels, stride, shift is not None, added is not None,
        **tile,
    )  # fmt: skip
    return out


def _tile(dtype: torch.dtype, channels: int, out_channels: int) -> dict[str, int]:
    """Sizes of a program's share, by the layer alone; measured on Hopper; 99 KB of shared memory suffice."""
    wide = dtype == torch.float32
    depth = 64 if channels % 64 == 0 and not wide else 32
    outputs = 128 if out_channels > 64 else 64 if out_channels >= 64 else 16
    warps = 8 if outputs > 16 else 4
    stages = 2 if wide else 3
    return {"PIXELS": 128, "OUTPUTS": outputs, "DEPTH": depth, "BAND": 8, "num_warps": warps, "num_stages": stages}
