"""The blocks of SDXL's UNet (Podell et al. 2023, https://arxiv.org/abs/2307.01952).

Weights have diffusers' names. What a block is told of time and size comes in already projected to its width, [rows,
channels]: it is constant over a request, and a Linear on one vector per row is what rounds differently in company.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesso.sdxl.eight_bit import TokenLinear, linear
from gesso.sdxl.operations import convolve, gated, group_norm, layer_norm

Context = Iterator[Tensor]
"""What rows are told of their prompts: keys and values of each cross-attention in its turn, [rows, tokens, width]."""


class ResnetBlock(nn.Module):
    """[rows, from_channels, h, w] -> [rows, to_channels, h, w]; `embedding` is the width of what it projects."""

    def __init__(self, from_channels: int, to_channels: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, from_channels, eps=1e-5)
        self.conv1 = nn.Conv2d(from_channels, to_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, to_channels)
        self.norm2 = nn.GroupNorm(groups, to_channels, eps=1e-5)
        self.conv2 = nn.Conv2d(to_channels, to_channels, 3, padding=1)
        same = from_channels == to_channels
        self.conv_shortcut = nn.Identity() if same else nn.Conv2d(from_channels, to_channels, 1)

    def forward(self, hidden: Tensor, shift: Tensor) -> Tensor:
        """`shift` [rows, to_channels]: what `time_emb_proj` makes of the row's embedding."""
        residual = convolve(group_norm(hidden, self.norm1, silu=True), self.conv1, shift=shift)
        return convolve(group_norm(residual, self.norm2, silu=True), self.conv2, added=self.conv_shortcut(hidden))


class Joined:
    """Linears without biases that read the same tokens, as one product: each by itself keeps a GPU less busy.

    Their weights, and the scales of 8-bit ones, stay where they are known by name, in the memory of what was joined.
    """

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        self._linears = linears
        self._widths = [layer.out_features for layer in linears]
        self._joined: tuple[Tensor, Tensor | None] | None = None

    def part(self) -> None:
        """The weights may become others: forget what was joined of them."""
        self._joined = None

    def __call__(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """[..., width] -> what each Linear makes of them."""
        if self._joined is None:
            scaled = self._linears[0]._parameters.get("scale") is not None
            self._joined = self._join("weight"), self._join("scale") if scaled else None
        return torch.split(linear(tokens, *self._joined), self._widths, dim=-1)

    def _join(self, name: str) -> Tensor:
        parts: list[Tensor] = [getattr(layer, name) for layer in self._linears]
        # As bytes: not every device knows how to join 8-bit floats.
        joined = torch.cat([part.view(torch.uint8) for part in parts]).view(parts[0].dtype)
        for layer, part in zip(self._linears, torch.split(joined, self._widths), strict=True):
            setattr(layer, name, nn.Parameter(part, requires_grad=False))
        return joined


class Attention(nn.Module):
    """Multi-head attention, from tokens of one width to others that may have another, which are read by `reads`."""

    def __init__(self, width: int, context: int, heads: int, reads: type[nn.Linear]) -> None:
        super().__init__()
        self._heads = heads
        self.to_q = TokenLinear(width, width, bias=False)
        self.to_k = reads(context, width, bias=False)
        self.to_v = reads(context, width, bias=False)
        self.to_out = nn.ModuleList([TokenLinear(width, width)])

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """All are projected already: [rows, tokens, width]; keys and values have the other tokens' number."""
        query, key, value = (self._by_head(tokens) for tokens in (queries, keys, values))
        attended = functional.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.to_out[0](attended.transpose(1, 2).flatten(2))
        return joined

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], self._heads, -1).transpose(1, 2)


class GatedProjection(nn.Module):
    """GEGLU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = TokenLinear(width, 2 * inner)

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, tokens, width] -> [rows, tokens, inner]."""
        return gated(self.proj(hidden))


class FeedForward(nn.Module):
    """Two layers, four times as wide between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GatedProjection(width, 4 * width), nn.Identity(), TokenLinear(4 * width, width)])

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, tokens, width], in and out."""
        for layer in self.net:
            hidden = layer(hidden)
        return hidden


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward, each on normalised tokens and added."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, width, heads, TokenLinear)
        self.attn2 = Attention(width, context, heads, nn.Linear)  # of few tokens
        self.ff = FeedForward(width)
        self.joined = Joined([self.attn1.to_q, self.attn1.to_k, self.attn1.to_v])

    def forward(self, tokens: Tensor, added: Tensor | None, context: Context) -> tuple[Tensor, Tensor]:
        """Two [rows, tokens, width] whose sum is the outcome; `tokens` and `added` are such, too."""
        tokens, normal = layer_norm(tokens, added, self.norm1)
        attended = self.attn1(*self.joined(normal))
        tokens, normal = layer_norm(tokens, attended, self.norm2)
        attended = self.attn2(self.attn2.to_q(normal), next(context), next(context))
        tokens, normal = layer_norm(tokens, attended, self.norm3)
        return tokens, self.ff(normal)


class Transformer(nn.Module):
    """A latent's pixels as tokens, through `depth` transformer blocks and back."""

    def __init__(self, width: int, context: int, heads: int, depth: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList(TransformerBlock(width, context, heads) for _ in range(depth))
        self.proj_out = nn.Linear(width, width)

    def forward(self, hidden: Tensor, context: Context) -> Tensor:
        """[rows, width, h, w], in and out; `context`: keys and values of each block in turn."""
        height = hidden.shape[2]
        tokens = self.proj_in(group_norm(hidden, self.norm, silu=False).permute(0, 2, 3, 1).flatten(1, 2))
        added = None
        for block in self.transformer_blocks:
            tokens, added = block(tokens, added, context)
        tokens = self.proj_out(tokens if added is None else tokens + added)
        joined: Tensor = tokens.unflatten(1, (height, -1)).permute(0, 3, 1, 2) + hidden
        return joined


class Downsample(nn.Module):
    """Half the height and width, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, channels, h, w] -> [rows, channels, h/2, w/2]."""
        return convolve(hidden, self.conv)


class Upsample(nn.Module):
    """Nearest neighbours, to the size of what is joined next."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor, size: torch.Size) -> Tensor:
        """[rows, channels, h, w] -> [rows, channels, *size]."""
        return convolve(functional.interpolate(hidden, size=size, mode="nearest"), self.conv)


class Stage(nn.Module):
    """Residual blocks at one resolution, each with a transformer behind it where the stage attends to the prompt.

    The middle stage alone has one residual block more than transformers, which stands before them all.
    """

    def __init__(self, resnets: list[ResnetBlock], attentions: list[Transformer]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)
        self._transformers = attentions

    def layer(self, number: int, hidden: Tensor, shifts: Iterator[Tensor], context: Context) -> Tensor:
        """One residual block and its transformer, where it has one."""
        hidden = self.resnets[number](hidden, next(shifts))
        if self._transformers:
            hidden = self._transformers[number](hidden, context)
        return hidden


class DownStage(Stage):
    """On the way down; every layer's outcome is kept for the way up."""

    def __init__(self, resnets: list[ResnetBlock], attentions: list[Transformer], last: bool) -> None:
        super().__init__(resnets, attentions)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(resnets[-1].conv2.out_channels)])

    def forward(self, hidden: Tensor, kept: list[Tensor], shifts: Iterator[Tensor], context: Context) -> Tensor:
        """[rows, channels, h, w] to the next stage's; what is kept is appended to `kept`."""
        for number in range(len(self.resnets)):
            hidden = self.layer(number, hidden, shifts, context)
            kept.append(hidden)
        for downsample in self.downsamplers:
            hidden = downsample(hidden)
            kept.append(hidden)
        return hidden


class MiddleStage(Stage):
    """The lowest resolution: a residual block, then transformers with a residual block behind each."""

    def forward(self, hidden: Tensor, shifts: Iterator[Tensor], context: Context) -> Tensor:
        """[rows, channels, h, w], in and out."""
        hidden = self.resnets[0](hidden, next(shifts))
        for transformer, resnet in zip(self._transformers, list(self.resnets)[1:], strict=True):
            hidden = resnet(transformer(hidden, context), next(shifts))
        return hidden


class UpStage(Stage):
    """On the way up; each layer takes in what was kept on the way down."""

    def __init__(self, resnets: list[ResnetBlock], attentions: list[Transformer], last: bool) -> None:
        super().__init__(resnets, attentions)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(resnets[-1].conv2.out_channels)])

    def forward(self, hidden: Tensor, kept: list[Tensor], shifts: Iterator[Tensor], context: Context) -> Tensor:
        """[rows, channels, h, w] to the next stage's; what is taken in is taken off `kept`."""
        for number in range(len(self.resnets)):
            hidden = self.layer(number, torch.cat([hidden, kept.pop()], dim=1), shifts, context)
        for upsample in self.upsamplers:
            hidden = upsample(hidden, kept[-1].shape[2:])
        return hidden
