"""The shape of a checkpoint: which networks it has and how wide they are."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

METADATA_KEY = "gesso.config"

Kind = Literal["base", "refiner", "vae"]
"""`vae`: nothing but a VAE, to be lent to others."""
PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """`unet` and `vae` are diffusers configurations, `text_encoder` and `text_encoder_2` transformers'; None where a
    checkpoint has no such part (a refiner has no first encoder), or leaves it to another file.

    `zero_terminal_snr`: the last train timestep was pure noise. Raises ValueError for that with epsilon, which cannot
    be (to name the noise in pure noise is to copy it), and for another kind or prediction.
    """

    kind: Kind
    prediction_type: PredictionType
    force_zeros_for_empty_prompt: bool
    unet: Mapping[str, Any] | None
    vae: Mapping[str, Any] | None
    text_encoder: Mapping[str, Any] | None
    text_encoder_2: Mapping[str, Any] | None
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        for stated, allowed in ((self.kind, get_args(Kind)), (self.prediction_type, get_args(PredictionType))):
            if stated not in allowed:
                raise ValueError(f"{stated!r} is none of {', '.join(allowed)}")
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise ValueError("a checkpoint with zero terminal SNR predicts v, and this one is said to predict epsilon")

    def to_metadata(self) -> dict[str, str]:
        """What a file of this shape carries in its header."""
        return {METADATA_KEY: json.dumps(asdict(self), sort_keys=True)}


def _unet(down: list[str], channels: list[int], depth: list[int], context: int, added: int) -> dict[str, Any]:
    return {
        "sample_size": 128,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": channels,
        "layers_per_block": 2,
        "down_block_types": down,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
        "attention_head_dim": [width // 64 for width in channels],
        "transformer_layers_per_block": depth,
        "use_linear_projection": True,
        "cross_attention_dim": context,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": added,
    }


def _clip(width: int, layers: int, heads: int, activation: str) -> dict[str, Any]:
    return {
        "vocab_size": 49408,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": 77,
        "hidden_act": activation,
        "projection_dim": width,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 1,
    }


_PLAIN, _CROSS = "DownBlock2D", "CrossAttnDownBlock2D"
_VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
_CLIP_L = _clip(768, 12, 12, "quick_gelu")
_CLIP_BIG_G = _clip(1280, 32, 20, "gelu")

SDXL_BASE = Architecture(
    kind="base",
    prediction_type="epsilon",
    force_zeros_for_empty_prompt=True,
    unet=_unet([_PLAIN, _CROSS, _CROSS], [320, 640, 1280], [1, 2, 10], context=2048, added=2816),
    vae=_VAE,
    text_encoder=_CLIP_L,
    text_encoder_2=_CLIP_BIG_G,
)
SDXL_REFINER = Architecture(
    kind="refiner",
    prediction_type="epsilon",
    force_zeros_for_empty_prompt=False,
    unet=_unet([_PLAIN, _CROSS, _CROSS, _PLAIN], [384, 768, 1536, 1536], [4, 4, 4, 4], context=1280, added=2560),
    vae=_VAE,
    text_encoder=None,
    text_encoder_2=_CLIP_BIG_G,
)
SDXL_VAE = Architecture(
    kind="vae",
    prediction_type="epsilon",
    force_zeros_for_empty_prompt=False,
    unet=None,
    vae=_VAE,
    text_encoder=None,
    text_encoder_2=None,
)
