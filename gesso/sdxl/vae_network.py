"""SDXL's VAE (Rombach et al. 2022, https://arxiv.org/abs/2112.10752).

Diffusers' AutoencoderKL is the oracle, and its names are the weights'.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesso.sdxl.operations import group_norm

SDXL_ONLY: dict[str, Any] = {
    "act_fn": "silu",
    "mid_block_add_attention": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "latents_mean": None,
    "latents_std": None,
    "shift_factor": None,
}
"""Options that have one value in every SDXL, stated or not."""

SHAPE = (
    "in_channels",
    "out_channels",
    "latent_channels",
    "block_out_channels",
    "layers_per_block",
    "norm_num_groups",
    "scaling_factor",
)
"""Options that every file states, as its own."""

EPS = 1e-6
LOG_VARIANCE = -30.0, 20.0
"""Beyond this it is clamped."""


class ResnetBlock(nn.Module):
    """[pictures, from_channels, h, w] -> [pictures, to_channels, h, w]."""

    def __init__(self, from_channels: int, to_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, from_channels, eps=EPS)
        self.conv1 = nn.Conv2d(from_channels, to_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, to_channels, eps=EPS)
        self.conv2 = nn.Conv2d(to_channels, to_channels, 3, padding=1)
        same = from_channels == to_channels
        self.conv_shortcut = nn.Identity() if same else nn.Conv2d(from_channels, to_channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        residual = self.conv1(group_norm(hidden, self.norm1, silu=True))
        residual = self.conv2(group_norm(residual, self.norm2, silu=True))
        added: Tensor = residual.add_(self.conv_shortcut(hidden))
        return added


class Attention(nn.Module):
    """Every pixel attends to all, with one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, eps=EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, hidden: Tensor) -> Tensor:
        """[pictures, width, h, w], in and out."""
        tokens = group_norm(hidden, self.group_norm, silu=False).permute(0, 2, 3, 1).flatten(1, 2)
        query, key, value = (linear(tokens)[:, None] for linear in (self.to_q, self.to_k, self.to_v))
        attended = functional.scaled_dot_product_attention(query, key, value)[:, 0]
        joined: Tensor = self.to_out[0](attended).unflatten(1, hidden.shape[2:]).permute(0, 3, 1, 2) + hidden
        return joined


class Middle(nn.Module):
    """The lowest resolution: it attends between two residual blocks."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(width, width, groups) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(width, groups)])

    def forward(self, hidden: Tensor) -> Tensor:
        attended: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](hidden)))
        return attended


class Downsample(nn.Module):
    """Half the height and width; the padding is below and on the right alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, hidden: Tensor) -> Tensor:
        halved: Tensor = self.conv(functional.pad(hidden, (0, 1, 0, 1)))
        return halved


class Upsample(nn.Module):
    """Twice the height and width, by nearest neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        enlarged: Tensor = self.conv(functional.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        return enlarged


class Stage(nn.Module):
    """Residual blocks at one resolution, then what leads to the next, unless this is the last."""

    def __init__(self, from_channels: int, width: int, layers: int, groups: int) -> None:
        super().__init__()
        entering = [from_channels] + [width] * (layers - 1)
        self.resnets = nn.ModuleList(ResnetBlock(channels, width, groups) for channels in entering)

    def forward(self, hidden: Tensor) -> Tensor:
        """[pictures, from_channels, h, w] -> [pictures, width, the next stage's size]."""
        for layers in self.children():
            for layer in layers.children():
                hidden = layer(hidden)
        return hidden


class DownStage(Stage):
    """One that leads to half the size."""

    def __init__(self, from_channels: int, width: int, layers: int, groups: int, last: bool) -> None:
        super().__init__(from_channels, width, layers, groups)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(width)])


class UpStage(Stage):
    """One that leads to twice the size."""

    def __init__(self, from_channels: int, width: int, layers: int, groups: int, last: bool) -> None:
        super().__init__(from_channels, width, layers, groups)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(width)])


class Encoder(nn.Module):
    """[pictures, 3, h, w] -> [pictures, 2 * latent channels, h / factor, w / factor]."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        widths, groups = list(config["block_out_channels"]), config["norm_num_groups"]
        self.conv_in = nn.Conv2d(config["in_channels"], widths[0], 3, padding=1)
        entering = [widths[0], *widths[:-1]]
        self.down_blocks = nn.ModuleList(
            DownStage(entering[level], width, config["layers_per_block"], groups, level == len(widths) - 1)
            for level, width in enumerate(widths)
        )
        self.mid_block = Middle(widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config["latent_channels"], 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = self.conv_in(pixels)
        for stage in self.down_blocks:
            hidden = stage(hidden)
        return self.read(hidden)

    def read(self, hidden: Tensor) -> Tensor:
        """What becomes of the coarsest level: [pictures, widest, h / factor, w / factor]."""
        moments: Tensor = self.conv_out(group_norm(self.mid_block(hidden), self.conv_norm_out, silu=True))
        return moments


class Decoder(nn.Module):
    """[pictures, latent channels, h, w] -> [pictures, 3, factor * h, factor * w]."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        widths, groups = list(reversed(config["block_out_channels"])), config["norm_num_groups"]
        self.conv_in = nn.Conv2d(config["latent_channels"], widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], groups)
        entering = [widths[0], *widths[:-1]]
        self.up_blocks = nn.ModuleList(
            UpStage(entering[level], width, config["layers_per_block"] + 1, groups, level == len(widths) - 1)
            for level, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], config["out_channels"], 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        hidden = self.mid_block(self.conv_in(latents))
        for stage in self.up_blocks:
            hidden = stage(hidden)
        pixels: Tensor = self.conv_out(group_norm(hidden, self.conv_norm_out, silu=True))
        return pixels


class VaeNetwork(nn.Module):
    """The VAE of a diffusers configuration that is SDXL's but for its widths and depths.

    Raises ValueError for one that lacks what it needs or states an option otherwise than SDXL's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        if missing := [name for name in SHAPE if name not in config]:
            raise ValueError(f"a VAE's shape needs {', '.join(missing)} too")
        if foreign := [name for name, value in SDXL_ONLY.items() if config.get(name, value) != value]:
            raise ValueError(f"a VAE with {', '.join(f'{name} = {config[name]!r}' for name in foreign)} is not SDXL's")
        latents: int = config["latent_channels"]
        self.factor: int = 2 ** (len(config["block_out_channels"]) - 1)
        self.widths = tuple(config["block_out_channels"])
        self.latent_channels = latents
        self.scaling_factor: float = config["scaling_factor"]
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1)
        self.post_quant_conv = nn.Conv2d(latents, latents, 1)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.parameters()).dtype

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Of pictures, -1 to 1, [pictures, 3, h, w], the latents' mean and standard deviation: [pictures, latent
        channels, h / factor, w / factor]."""
        return self.posterior(self.encoder(pixels))

    def posterior(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, of what the encoder says."""
        mean, log_variance = self.quant_conv(moments).chunk(2, dim=1)
        return mean, torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE))

    def forward(self, latents: Tensor) -> Tensor:
        """The pictures, around -1 to 1, of latents as they were encoded."""
        pixels: Tensor = self.decoder(self.post_quant_conv(latents))
        return pixels
