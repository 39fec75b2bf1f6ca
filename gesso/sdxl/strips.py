"""A VAE's work strip by strip, for pictures whose activations would not fit a device's memory.

Between layers everything lies in the host's memory; on the device are the weights and one strip of one layer. It is the
same computation, not one in tiles whose seams are blended: a convolution reads the rows beside its strip, and a norm is
taken over the whole picture. What differs is rounding.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesso.sdxl.vae_network import Downsample, ResnetBlock, Upsample, VaeNetwork

ROWS = 64
"""Of what a layer makes, at a time."""

HOST = torch.device("cpu")

Prepared = Callable[[Tensor], Tensor]
"""What becomes of a strip before it is convolved."""


def bytes_of_a_pixel(widths: Sequence[int], dtype: torch.dtype) -> int:
    """What a picture takes at most for each of its pixels, but for strips, in a VAE of these widths: on the finest
    level something as wide as the next coarser one, the same normalised, and what becomes of it."""
    return (widths[0] + 2 * widths[min(1, len(widths) - 1)]) * dtype.itemsize


def decode(network: VaeNetwork, latents: Tensor) -> Tensor:
    """As `network(latents)`, but that the pictures are in the host's memory."""
    decoder = network.decoder
    hidden = decoder.mid_block(decoder.conv_in(network.post_quant_conv(latents))).to(HOST)
    for layer in _layers(decoder.up_blocks):
        hidden = _through(layer, hidden, latents.device)
    normal = _normalised(hidden, decoder.conv_norm_out, latents.device)
    return _convolved(hidden, decoder.conv_out, latents.device, normal)


def encode(network: VaeNetwork, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """As `network.encode(pixels)`, but that the pictures are in the host's memory."""
    encoder, device = network.encoder, next(network.parameters()).device
    hidden = _convolved(pixels, encoder.conv_in, device)
    for layer in _layers(encoder.down_blocks):
        hidden = _through(layer, hidden, device)
    return network.posterior(encoder.read(hidden.to(device)))


def _layers(stages: nn.ModuleList) -> Iterator[nn.Module]:
    return (layer for stage in stages for layers in stage.children() for layer in layers.children())


def _through(layer: nn.Module, hidden: Tensor, device: torch.device) -> Tensor:
    if isinstance(layer, Upsample):
        return _convolved(hidden, layer.conv, device, enlarged=2)
    if isinstance(layer, Downsample):
        return _convolved(hidden, layer.conv, device)
    assert isinstance(layer, ResnetBlock)
    residual = _convolved(hidden, layer.conv1, device, _normalised(hidden, layer.norm1, device))
    normal = _normalised(residual, layer.norm2, device)
    return _convolved(residual, layer.conv2, device, normal, beside=(layer.conv_shortcut, hidden))


def _normalised(hidden: Tensor, norm: nn.GroupNorm, device: torch.device) -> Prepared:
    """`norm` and SiLU of any strip of `hidden`, by the mean and variance of all of it."""
    count, mean, squares = 0, torch.zeros((), device=device), torch.zeros((), device=device)
    for first in range(0, hidden.shape[2], ROWS):
        strip = hidden[:, :, first : first + ROWS].to(device).float().reshape(len(hidden), norm.num_groups, -1)
        own = strip.shape[2]
        variance, middle = torch.var_mean(strip, dim=2, correction=0)
        away, share = middle - mean, own / (count + own)  # Chan, Golub and LeVeque 1979: exact however it is cut
        squares = squares + own * variance + away.square() * count * share
        mean, count = mean + away * share, count + own
    inverse = (squares / count + norm.eps).rsqrt()

    def prepared(strip: Tensor) -> Tensor:
        groups = strip.float().reshape(len(strip), norm.num_groups, -1, *strip.shape[2:])
        even = ((groups - mean[..., None, None, None]) * inverse[..., None, None, None]).flatten(1, 2)
        affine = even * norm.weight[:, None, None] + norm.bias[:, None, None]
        return functional.silu(affine.to(strip.dtype))

    return prepared


def _convolved(
    source: Tensor,
    conv: nn.Conv2d,
    device: torch.device,
    prepared: Prepared = lambda strip: strip,
    *,
    enlarged: int = 1,
    beside: tuple[nn.Module, Tensor] | None = None,
) -> Tensor:
    """`conv`, 3 x 3, of [pictures, channels, h, w], which is `prepared` and `enlarged` before; plus what a module makes
    of what lies `beside`. With a stride of 2 the padding is below and on the right alone."""
    stride = conv.stride[0]
    height, width = (side * enlarged // stride for side in source.shape[2:])
    shape = len(source), conv.out_channels, height, width
    out = torch.empty(shape, dtype=source.dtype, memory_format=torch.channels_last)
    before, right = (1, (1, 1)) if stride == 1 else (0, (0, 1))
    for first in range(0, height, ROWS):
        last = min(first + ROWS, height)
        window = _window(source, first * stride - before, (last - 1) * stride - before + 3, device, prepared, enlarged)
        strip = functional.conv2d(functional.pad(window, right), conv.weight, conv.bias, stride)
        if beside is not None:
            module, other = beside
            strip = module(other[:, :, first:last].to(device)) + strip
        out[:, :, first:last] = strip
    return out


def _window(source: Tensor, first: int, last: int, device: torch.device, prepared: Prepared, enlarged: int) -> Tensor:
    """Rows of `source` as it is prepared and enlarged; those beyond its edges are zeros."""
    top, bottom = max(first, 0), min(last, source.shape[2] * enlarged)
    start = top // enlarged
    part = prepared(source[:, :, start : -(-bottom // enlarged)].to(device))
    if enlarged > 1:
        part = functional.interpolate(part, scale_factor=float(enlarged), mode="nearest")
    part = part[:, :, top - start * enlarged :][:, :, : bottom - top]
    return functional.pad(part, (0, 0, top - first, last - bottom))
