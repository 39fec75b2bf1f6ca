"""SDXL's UNet, in two parts: what is constant over a request, and what runs at every step.

Diffusers' UNet2DConditionModel is the oracle, and its names are the weights'; it does both parts in every call.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesso.sdxl.blocks import DownStage, Joined, MiddleStage, ResnetBlock, Transformer, TransformerBlock, UpStage
from gesso.sdxl.operations import convolve, group_norm

LONGEST_PERIOD = 10_000

SHAPE = (
    "in_channels",
    "out_channels",
    "block_out_channels",
    "layers_per_block",
    "down_block_types",
    "up_block_types",
    "attention_head_dim",
    "transformer_layers_per_block",
    "cross_attention_dim",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
)
"""Options of a diffusers configuration that every file states, as its own."""

EACH_LEVEL = ("block_out_channels", "down_block_types", "attention_head_dim", "transformer_layers_per_block")
"""Of these, the ones that are lists from the finest level to the coarsest."""

OPTIONAL = {"norm_num_groups", "sample_size", "dropout", "addition_embed_type_num_heads"}
"""Options that may be stated as well; all but the first change no prediction of an SDXL UNet."""

SDXL_ONLY: dict[str, Any] = {
    "act_fn": "silu",
    "addition_embed_type": "text_time",
    "attention_type": "default",
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-5,
    "resnet_out_scale_factor": 1.0,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
    "use_linear_projection": True,
}
"""Options that have one value in every SDXL. All others are off: None, False or 0."""


def form_of(config: Mapping[str, Any]) -> str:
    """What networks have in common that differ in nothing but their weights."""
    return json.dumps({name: config[name] for name in SHAPE} | {"groups": _groups(config)}, sort_keys=True)


class Embedding(nn.Module):
    """Two Linears on one vector a row."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width, inner), nn.Linear(inner, inner)

    def forward(self, vectors: Tensor) -> Tensor:
        """[vectors, width] -> [vectors, inner]."""
        embedded: Tensor = self.linear_2(functional.silu(self.linear_1(vectors)))
        return embedded


class UnetNetwork(nn.Module):
    """The UNet of a diffusers configuration that is SDXL's but for its widths, depths and heads.

    Raises ValueError for any other.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        _require_sdxls(config)
        channels = list(config["block_out_channels"])
        self._frequencies, self._size_frequencies = channels[0], config["addition_time_embed_dim"]
        inner = 4 * channels[0]
        self.conv_in = nn.Conv2d(config["in_channels"], channels[0], 3, padding=1)
        self.time_embedding = Embedding(channels[0], inner)
        self.add_embedding = Embedding(config["projection_class_embeddings_input_dim"], inner)
        stages = _Stages(config, channels, inner)
        self.down_blocks = nn.ModuleList(stages.down())
        self.mid_block = stages.middle()
        self.up_blocks = nn.ModuleList(stages.up())
        self.conv_norm_out = nn.GroupNorm(stages.groups, channels[0], eps=1e-5)
        self.conv_out = nn.Conv2d(channels[0], config["out_channels"], 3, padding=1)
        self._resnets = [module for module in self.modules() if isinstance(module, ResnetBlock)]
        blocks = [module for module in self.modules() if isinstance(module, TransformerBlock)]
        self._context = Joined([linear for block in blocks for linear in (block.attn2.to_k, block.attn2.to_v)])
        self._joined = [self._context, *(block.joined for block in blocks)]
        cast(Any, self).register_load_state_dict_post_hook(lambda network, _: network._part())

    def shifts(self, timesteps: Tensor, pooled: Tensor, size_ids: Tensor) -> Tensor:
        """What every residual block adds, side by side: [evaluations, sum of their channels].

        `timesteps` [evaluations] float32; `pooled` [evaluations, width]; `size_ids` [evaluations, ids] float32.
        """
        dtype = pooled.dtype
        sizes = _sinusoids(size_ids.flatten(), self._size_frequencies).view(len(size_ids), -1)
        embedded = self.time_embedding(_sinusoids(timesteps, self._frequencies).to(dtype))
        embedded = embedded + self.add_embedding(torch.cat([pooled, sizes.to(dtype)], dim=1))
        activated = functional.silu(embedded)
        return torch.cat([resnet.time_emb_proj(activated) for resnet in self._resnets], dim=1)

    def forward(self, latents: Tensor, shifts: Tensor, context: Tensor) -> Tensor:
        """The raw prediction, as `latents`: [rows, channels, h, w].

        `shifts`: a row of what the method of that name says, each; `context` [rows, tokens, width].
        """
        each = iter(torch.split(shifts, [resnet.time_emb_proj.out_features for resnet in self._resnets], dim=1))
        told = iter(self._context(context))
        hidden = convolve(latents, self.conv_in)
        kept = [hidden]
        for stage in self.down_blocks:
            hidden = stage(hidden, kept, each, told)
        hidden = self.mid_block(hidden, each, told)
        for stage in self.up_blocks:
            hidden = stage(hidden, kept, each, told)
        return convolve(group_norm(hidden, self.conv_norm_out, silu=True), self.conv_out)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._part()
        return cast(Self, cast(Any, super())._apply(fn, recurse))

    def _part(self) -> None:
        for joined in self._joined:
            joined.part()


def _require_sdxls(config: Mapping[str, Any]) -> None:
    if missing := [name for name in SHAPE if name not in config]:
        raise ValueError(f"a UNet's shape needs {', '.join(missing)} too")
    levels = len(config["down_block_types"])
    if foreign := [name for name, value in config.items() if not _is_sdxls(name, value, levels)]:
        raise ValueError(f"a UNet with {', '.join(f'{name} = {config[name]!r}' for name in foreign)} is not SDXL's")


def _groups(config: Mapping[str, Any]) -> int:
    return int(config.get("norm_num_groups") or 32)


def _is_sdxls(name: str, value: Any, levels: int) -> bool:
    if name in EACH_LEVEL:
        return isinstance(value, list | tuple) and len(value) == levels
    if name == "layers_per_block":
        return isinstance(value, int)
    stated_freely = name in SHAPE or name in OPTIONAL or name.startswith("_")  # the last are diffusers' notes
    return stated_freely or (value or None) == SDXL_ONLY.get(name)


class _Stages:
    """The stages of a configuration. (What it calls `attention_head_dim` is the number of heads.)"""

    def __init__(self, config: Mapping[str, Any], channels: list[int], embedding: int) -> None:
        self.groups = _groups(config)
        self._channels = channels
        self._embedding = embedding
        self._layers: int = config["layers_per_block"]
        self._context: int = config["cross_attention_dim"]
        self._heads = config["attention_head_dim"]
        self._depths = config["transformer_layers_per_block"]
        self._attends = [name.startswith("CrossAttn") for name in config["down_block_types"]]

    def down(self) -> Iterator[DownStage]:
        """From the finest on."""
        last = len(self._channels) - 1
        for level, width in enumerate(self._channels):
            entering = [self._channels[max(level - 1, 0)]] + [width] * (self._layers - 1)
            yield DownStage(self._resnets(entering, width), self._attentions(level, self._layers), level == last)

    def middle(self) -> MiddleStage:
        """It attends even where the coarsest stage does not."""
        width = self._channels[-1]
        return MiddleStage(self._resnets([width, width], width), [self._transformer(len(self._channels) - 1)])

    def up(self) -> Iterator[UpStage]:
        """From the coarsest on. Each layer also takes in what its counterpart on the way down was given or made."""
        for level in reversed(range(len(self._channels))):
            width, layers = self._channels[level], self._layers + 1
            below = self._channels[min(level + 1, len(self._channels) - 1)]
            kept = [width] * self._layers + [self._channels[max(level - 1, 0)]]
            entering = [own + more for own, more in zip([below] + [width] * self._layers, kept, strict=True)]
            yield UpStage(self._resnets(entering, width), self._attentions(level, layers), level == 0)

    def _resnets(self, entering: list[int], width: int) -> list[ResnetBlock]:
        return [ResnetBlock(channels, width, self._embedding, self.groups) for channels in entering]

    def _attentions(self, level: int, layers: int) -> list[Transformer]:
        return [self._transformer(level) for _ in range(layers)] if self._attends[level] else []

    def _transformer(self, level: int) -> Transformer:
        width, heads, depth = self._channels[level], self._heads[level], self._depths[level]
        return Transformer(width, self._context, heads, depth, self.groups)


def _sinusoids(values: Tensor, width: int) -> Tensor:
    """[values] -> [values, width] float32: cosines, then sines, of geometrically falling frequencies (Vaswani 2017)."""
    half = width // 2
    exponents = -math.log(LONGEST_PERIOD) * torch.arange(half, dtype=torch.float32, device=values.device) / half
    angles = values.float()[:, None] * exponents.exp()
    return torch.cat([angles.cos(), angles.sin()], dim=1)
