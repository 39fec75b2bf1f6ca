"""The family's autoencoder, wired so that it starts out right.

Its encoder is the analytic latent written as convolutions: nothing is left to learn. Its decoder starts by painting
the latents' mean colours, smoothly, so that hues are right from the first step, and learns the outlines.

Two tricks make this possible inside `AutoencoderKL`. Group normalisation would take the brightness of a picture away:
constant reference channels dominate its statistics, so that it is nearly a fixed scale, the same for a window as for
the whole. They are kept from learning. And SiLU is not linear: signals run in pairs of opposite sign, since
silu(y) - silu(-y) = y.
"""

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from gesso.mini.latents import COLOUR, GAIN, HAAR, MEAN, in_order
from gesso.mini.models import LATENT_CHANNELS, autoencoder

_STRONG = 100.0
_FIRM = 8.0
_LIVELY = 3.0  # what the normalisation does not amplify must be large enough to bend SiLU
_LOG_VARIANCE = -20.0


def wired_autoencoder() -> AutoencoderKL:
    """An autoencoder whose encoder is final and whose decoder paints mean colours."""
    vae = autoencoder()
    with torch.no_grad():
        for half in (vae.encoder, vae.decoder):
            for module in half.modules():
                _quieten(module)
        _wire_encoder(vae)
        _wire_decoder(vae)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    return vae


def _quieten(module: nn.Module) -> None:
    """Make a block with a shortcut pass its input on: what it adds starts at zero."""
    if isinstance(module, ResnetBlock2D):
        _clear(module.conv2)
        if module.conv_shortcut is not None:
            _carry(module.conv_shortcut)
    elif isinstance(module, Attention):
        _clear(module.to_out[0])
        module.requires_grad_(False)


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _clear(layer: nn.Conv2d | nn.Linear) -> None:
    layer.weight.zero_()
    _bias(layer).zero_()


def _references(channels: int) -> slice:
    """The last eighth of the channels or so hold constants, half of each sign."""
    return slice(channels - max(2, channels // 16 * 2), channels)


def _carry(shortcut: nn.Conv2d) -> None:
    """Carry channels on by number, and references to references."""
    _clear(shortcut)
    wide, narrow = shortcut.out_channels, shortcut.in_channels
    to, source = _references(wide), _references(narrow)
    for channel in range(min(to.start, source.start)):
        shortcut.weight[channel, channel] = 1
    for number, channel in enumerate(range(to.start, wide)):
        same_sign = source.start + number % 2
        shortcut.weight[channel, same_sign] = 1


def _set_references(layer: nn.Conv2d, size: float) -> None:
    for number, channel in enumerate(range(*_references(layer.out_channels).indices(layer.out_channels))):
        _bias(layer)[channel] = size if number % 2 == 0 else -size


def _scale(norm: nn.GroupNorm, size: float, signals: float) -> None:
    """Undo the division by a deviation that the references make known beforehand."""
    channels = norm.num_channels
    references = _references(channels)
    count = references.stop - references.start
    norm.weight.fill_(((count * size**2 + signals) / channels) ** 0.5)
    norm.bias.zero_()


def _wire_encoder(vae: AutoencoderKL) -> None:
    encoder = vae.encoder
    _clear(encoder.conv_in)
    encoder.conv_in.weight[:3, :, 1, 1] = torch.eye(3)
    _set_references(encoder.conv_in, _STRONG)
    samplers = [block.downsamplers[0].conv for block in encoder.down_blocks if block.downsamplers]
    *averaging, halving, last = samplers
    for layer in averaging:
        _average(layer)
    _split(halving)
    _transform(last)
    _scale(encoder.conv_norm_out, _STRONG, 0.1 * LATENT_CHANNELS)
    _clear(encoder.conv_out)
    _join_pairs(encoder.conv_out, LATENT_CHANNELS)
    encoder.conv_out.bias[LATENT_CHANNELS:] = _LOG_VARIANCE
    _pass_on(vae.quant_conv)
    _pass_on(vae.post_quant_conv)


def _average(layer: nn.Conv2d) -> None:
    """Halve a picture by the mean of 2 x 2; the third row and column of the kernel stay unused."""
    _clear(layer)
    for channel in range(layer.out_channels):
        layer.weight[channel, channel, :2, :2] = 0.25


def _split(layer: nn.Conv2d) -> None:
    """Colours to brightness, in its four bands, and the two tones' means."""
    _average(layer)
    layer.weight[:6] = 0
    layer.weight[:4, :3, :2, :2] = torch.einsum("c,bhw->bchw", COLOUR[0], HAAR)
    layer.weight[4:6, :3, :2, :2] = (COLOUR[1:] / 4).view(2, 3, 1, 1).expand(2, 3, 2, 2)


def _transform(layer: nn.Conv2d) -> None:
    """What `_split` made to latents, each in both signs."""
    _average(layer)
    layer.weight[: 2 * LATENT_CHANNELS] = 0
    each = torch.einsum("pq,bhw->bpqhw", torch.eye(6), HAAR)
    kernel = in_order(each[:, :4].unsqueeze(0), each[:, 4:].unsqueeze(0))[0] * GAIN.unsqueeze(3)
    offset = (-MEAN * GAIN).flatten()
    for sign, start in ((1, 0), (-1, LATENT_CHANNELS)):
        layer.weight[start : start + LATENT_CHANNELS, :6, :2, :2] = sign * kernel
        _bias(layer)[start : start + LATENT_CHANNELS] = sign * offset


def _join_pairs(layer: nn.Conv2d, count: int) -> None:
    """Channel n minus channel n + count."""
    layer.weight[:count, :count, 1, 1] = torch.eye(count)
    layer.weight[:count, count : 2 * count, 1, 1] = -torch.eye(count)


def _pass_on(layer: nn.Conv2d) -> None:
    _clear(layer)
    layer.weight[:, :, 0, 0] = torch.eye(layer.out_channels)


def _wire_decoder(vae: AutoencoderKL) -> None:
    decoder = vae.decoder
    for module in decoder.modules():
        if isinstance(module, nn.GroupNorm):
            _scale(module, _FIRM, module.num_channels)
        if isinstance(module, ResnetBlock2D):
            module.conv1.weight.mul_(_LIVELY)
            _isolate(module.conv1)
            _set_references(module.conv1, _FIRM)
    for block in decoder.up_blocks[:-1]:
        _interpolate(block.upsamplers[0].conv)
    _isolate(decoder.conv_in)
    _set_references(decoder.conv_in, _FIRM)
    _paint_mean_colours(decoder.conv_in)
    _clear(decoder.conv_out)
    _join_pairs(decoder.conv_out, 3)
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            _hold_references(module)


def _paint_mean_colours(layer: nn.Conv2d) -> None:
    """The first three latents as RGB in -1..1, in both signs."""
    colour = COLOUR.T / GAIN[:3, 0, 0]
    offset = COLOUR.T @ MEAN[:3, 0, 0]
    for sign, first in ((1.0, 0), (-1.0, 3)):
        layer.weight[first : first + 3] = 0
        layer.weight[first : first + 3, :3, 1, 1] = sign * colour
        _bias(layer)[first : first + 3] = sign * offset


def _interpolate(layer: nn.Conv2d) -> None:
    """Smooth what was doubled, so that edges start as ramps and not as stairs; references stay as they are."""
    _clear(layer)
    ramp = torch.tensor([0.25, 0.5, 0.25])
    for channel in range(layer.out_channels):
        layer.weight[channel, channel] = torch.outer(ramp, ramp)
    for channel in range(*_references(layer.out_channels).indices(layer.out_channels)):
        layer.weight[channel, channel] = 0
        layer.weight[channel, channel, 1, 1] = 1


def _isolate(layer: nn.Conv2d) -> None:
    """Let nothing flow into or out of the references."""
    layer.weight[_references(layer.out_channels)] = 0
    if layer.in_channels != LATENT_CHANNELS:
        layer.weight[:, _references(layer.in_channels)] = 0


def _hold_references(layer: nn.Conv2d) -> None:
    """Keep from learning what reads or writes references; a bias does the same."""
    weight, bias = torch.ones_like(layer.weight), torch.ones_like(_bias(layer))
    if layer.in_channels != LATENT_CHANNELS:
        weight[:, _references(layer.in_channels)] = 0
    if layer.out_channels != 3:
        weight[_references(layer.out_channels)] = 0
        bias[_references(layer.out_channels)] = 0
    layer.weight.register_hook(lambda gradient: gradient * weight)  # type: ignore[no-untyped-call]
    _bias(layer).register_hook(lambda gradient: gradient * bias)  # type: ignore[no-untyped-call]
