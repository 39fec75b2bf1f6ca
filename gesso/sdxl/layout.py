"""Two names for every weight: the one in a single file (Stability's layout) and the one in its module.

Each `*_name` maps the name that a diffusers or transformers module gives a weight to the name in the file; reading and
writing both go through these, so what is written is what is read.
"""

import re
from collections.abc import Mapping
from typing import Any

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "conditioner.embedders.0.transformer."

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OLD_VAE_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Diffusers' names until 2023; folders that were written then still have them."""
_OPEN_CLIP_ENDS = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
}
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """`name` with the leading part that `table` knows replaced."""
    for old, new in table.items():
        if name == old or name.startswith(old + "."):
            return new + name[len(old) :]
    return name


def unet_name(name: str, config: Mapping[str, Any]) -> str:
    """The file's name of the UNet's weight `name`."""
    per_block = config["layers_per_block"] + 1
    if block := re.match(
        r"(down|mid|up)_block(?:s\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", name
    ):
        where, index, kind, layer = block[1], int(block[2] or 0), block[3], int(block[4])
        rest = name[block.end() :]
        rest = _renamed(rest, _RESNET) if kind == "resnets" else rest
        if where == "mid":
            return f"{UNET_PREFIX}middle_block.{2 * layer + (kind == 'attentions')}.{rest}"
        if kind == "downsamplers":
            return f"{UNET_PREFIX}input_blocks.{(index + 1) * per_block}.0.{rest.replace('conv', 'op', 1)}"
        if kind == "upsamplers":
            place = 2 if config["up_block_types"][index].startswith("CrossAttn") else 1
            return f"{UNET_PREFIX}output_blocks.{(index + 1) * per_block - 1}.{place}.{rest}"
        first = 1 if where == "down" else 0
        blocks = "input_blocks" if where == "down" else "output_blocks"
        return f"{UNET_PREFIX}{blocks}.{first + index * per_block + layer}.{int(kind == 'attentions')}.{rest}"
    return UNET_PREFIX + _renamed(name, _UNET_ENDS)


def vae_name(name: str, config: Mapping[str, Any]) -> str:
    """The file's name of the VAE's weight `name`.

    Attention weights are 1x1 convolutions, [c, c, 1, 1], in the file, and [c, c] in the module.
    """
    last = len(config["block_out_channels"]) - 1
    name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d+)", lambda block: f"up.{last - int(block[1])}", name)
    name = re.sub(r"(down|up)samplers\.0", r"\1sample", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda block: f"mid.block_{int(block[1]) + 1}", name)
    name = name.replace(".resnets.", ".block.").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("conv_norm_out", "norm_out")
    if attention := re.match(r"(.*)mid_block\.attentions\.0\.", name):
        name = f"{attention[1]}mid.attn_1.{_renamed(name[attention.end() :], _VAE_ATTENTION)}"
    return VAE_PREFIX + name


def folder_vae_name(name: str) -> str:
    """What an old diffusers folder calls the VAE's weight `name`."""
    if attention := re.match(r"(.*mid_block\.attentions\.0\.)", name):
        return attention[1] + _renamed(name[attention.end() :], _OLD_VAE_ATTENTION)
    return name


def folder_clip_name(name: str) -> str:
    """What transformers before version 5 called a text encoder's weight `name`."""
    return f"text_model.{name}"


def clip_name(name: str) -> str:
    """The file's name of the first text encoder's weight `name`."""
    return f"{CLIP_PREFIX}text_model.{name}"


def open_clip_prefix(kind: str) -> str:
    """Where the second text encoder lies in a file: in a refiner it is the only one."""
    return f"conditioner.embedders.{1 if kind == 'base' else 0}.model."


def open_clip_name(name: str) -> tuple[str, int | None]:
    """The file's name (without prefix) of the second text encoder's weight `name`, and which third of it that is.

    OpenCLIP keeps query, key and value in one tensor; None means the whole tensor. `text_projection` is transposed.
    """
    if name in _OPEN_CLIP_ENDS:
        return _OPEN_CLIP_ENDS[name], None
    layer = re.match(r"text_model\.encoder\.layers\.(\d+)\.", name)
    assert layer, name
    rest = name[layer.end() :]
    if fused := re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", rest):
        return f"transformer.resblocks.{layer[1]}.attn.in_proj_{fused[2]}", "qkv".index(fused[1])
    return f"transformer.resblocks.{layer[1]}.{_renamed(rest, _OPEN_CLIP_LAYER)}", None
