"""The shape of a checkpoint: which networks it has and how wide they are.

An SDXL file says nothing of its shape, so it has Stability's, told apart by its keys. A file that differs (the embedded
models do) carries its shape in its safetensors metadata, as JSON under `gesso.config`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from gesso.errors import ServiceUnavailable

METADATA_KEY = "gesso.config"

# Tensors of no network, by which the community's files say how they were trained.
V_PREDICTION_MARKER = "v_pred"
ZERO_TERMINAL_SNR_MARKER = "ztsnr"
UNSERVED_MARKERS = {"edm_vpred.sigma_max", "edm_mean"}

Kind = Literal["base", "refiner"]
PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """`unet` and `vae` are diffusers configurations, `text_encoder` and `text_encoder_2` transformers'; None where a
    checkpoint has no such part (a refiner has no first encoder).

    `zero_terminal_snr`: the last train timestep was pure noise. Raises ValueError for that with epsilon, which cannot
    be (to name the noise in pure noise is to copy it), and for another kind or prediction.
    """

    kind: Kind
    prediction_type: PredictionType
    force_zeros_for_empty_prompt: bool
    unet: Mapping[str, Any]
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


def read_architecture(path: str, metadata: Mapping[str, str], keys: Collection[str]) -> Architecture:
    """The shape of the file at `path`, from its header.

    Raises:
        ServiceUnavailable: it is neither an SDXL base nor a refiner, or of a kind that is not served.
    """
    if METADATA_KEY in metadata:
        return _stated(path, metadata[METADATA_KEY])
    if unserved := sorted(UNSERVED_MARKERS & set(keys)):
        raise ServiceUnavailable(f"{path} is marked {', '.join(unserved)}: such models are not served yet")
    return _as_marked(path, _standard(path, keys), keys)


def _stated(path: str, statement: str) -> Architecture:
    try:
        return Architecture(**json.loads(statement))
    except (TypeError, ValueError) as error:
        raise ServiceUnavailable(f"{path} says of its shape what cannot be read: {error}") from None


def _as_marked(path: str, standard: Architecture, keys: Collection[str]) -> Architecture:
    if V_PREDICTION_MARKER in keys:
        zero_terminal_snr = ZERO_TERMINAL_SNR_MARKER in keys
        return replace(standard, prediction_type="v_prediction", zero_terminal_snr=zero_terminal_snr)
    if ZERO_TERMINAL_SNR_MARKER in keys:
        raise ServiceUnavailable(
            f"{path} is marked {ZERO_TERMINAL_SNR_MARKER} and not {V_PREDICTION_MARKER}: "
            "a checkpoint that saw pure noise cannot predict epsilon"
        )
    return standard


def _standard(path: str, keys: Collection[str]) -> Architecture:
    if not any(key.startswith("model.diffusion_model.") for key in keys):
        raise ServiceUnavailable(f"{path} has no SDXL UNet in it: it is no SDXL checkpoint")
    if "conditioner.embedders.1.model.text_projection" in keys:
        return SDXL_BASE
    if "conditioner.embedders.0.model.text_projection" in keys:
        return SDXL_REFINER
    raise ServiceUnavailable(f"{path} has no SDXL text encoders in it: it is no SDXL checkpoint")
