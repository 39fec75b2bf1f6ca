"""The blocks of SDXL's UNet (Podell et al. 2023, https://arxiv.org/abs/2307.01952).

Weights have diffusers' names. What a block is told of time and size comes in already projected to its width, [rows,
channels]: it is constant over a request, and a Linear on one vector per row is what rounds differently in company.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        residual = self.conv1(functional.silu(self.norm1(hidden))) + shift[:, :, None, None]
        residual = self.conv2(functional.silu(self.norm2(residual)))
        added: Tensor = self.conv_shortcut(hidden) + residual
        return added


class Attention(nn.Module):
    """Multi-head attention from [rows, tokens, width] to a context of its own or another width."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        """`context` [rows, context tokens, context width]."""
        query, key, value = (
            self._by_head(tokens) for tokens in (self.to_q(hidden), self.to_k(context), self.to_v(context))
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.to_out[0](attended.transpose(1, 2).flatten(2))
        return joined

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], self._heads, -1).transpose(1, 2)


class GatedProjection(nn.Module):
    """GEGLU (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, tokens, width] -> [rows, tokens, inner]."""
        value, gate = self.proj(hidden).chunk(2, dim=-1)
        gated: Tensor = value * functional.gelu(gate)
        return gated


class FeedForward(nn.Module):
    """Two layers, four times as wide between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GatedProjection(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

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
        self.attn1 = Attention(width, width, heads)
        self.attn2 = Attention(width, context, heads)
        self.ff = FeedForward(width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """[rows, tokens, width], in and out."""
        normalised = self.norm1(tokens)
        tokens = tokens + self.attn1(normalised, normalised)
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        fed: Tensor = tokens + self.ff(self.norm3(tokens))
        return fed


class Transformer(nn.Module):
    """A latent's pixels as tokens, through `depth` transformer blocks and back."""

    def __init__(self, width: int, context: int, heads: int, depth: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList(TransformerBlock(width, context, heads) for _ in range(depth))
        self.proj_out = nn.Linear(width, width)

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        """[rows, width, h, w], in and out; `context` [rows, context tokens, context width]."""
        height = hidden.shape[2]
        tokens = self.proj_in(self.norm(hidden).permute(0, 2, 3, 1).flatten(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        added: Tensor = self.proj_out(tokens).unflatten(1, (height, -1)).permute(0, 3, 1, 2) + hidden
        return added


class Downsample(nn.Module):
    """Half the height and width, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, channels, h, w] -> [rows, channels, h/2, w/2]."""
        halved: Tensor = self.conv(hidden)
        return halved


class Upsample(nn.Module):
    """Nearest neighbours, to the size of what is joined next."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor, size: torch.Size) -> Tensor:
        """[rows, channels, h, w] -> [rows, channels, *size]."""
        enlarged: Tensor = self.conv(functional.interpolate(hidden, size=size, mode="nearest"))
        return enlarged


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

    def layer(self, number: int, hidden: Tensor, shifts: Iterator[Tensor], context: Tensor) -> Tensor:
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

    def forward(self, hidden: Tensor, kept: list[Tensor], shifts: Iterator[Tensor], context: Tensor) -> Tensor:
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

    def forward(self, hidden: Tensor, shifts: Iterator[Tensor], context: Tensor) -> Tensor:
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

    def forward(self, hidden: Tensor, kept: list[Tensor], shifts: Iterator[Tensor], context: Tensor) -> Tensor:
        """[rows, channels, h, w] to the next stage's; what is taken in is taken off `kept`."""
        for number in range(len(self.resnets)):
            hidden = self.layer(number, torch.cat([hidden, kept.pop()], dim=1), shifts, context)
        for upsample in self.upsamplers:
            hidden = upsample(hidden, kept[-1].shape[2:])
        return hidden
