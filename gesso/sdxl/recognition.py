"""What a single file holds, told by its header: the names and shapes of its tensors, and its metadata.

An SDXL file says nothing of its shape, so it has Stability's, told apart by its tensors. A file that differs (the
embedded models do) carries its shape in its safetensors metadata, as JSON under `gesso.config`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import (
    METADATA_KEY,
    SDXL_BASE,
    SDXL_REFINER,
    SDXL_VAE,
    Architecture,
    PredictionType,
)
from gesso.sdxl.extras import V_PREDICTION_MARKER, ZERO_TERMINAL_SNR_MARKER
from gesso.sdxl.layout import CLIP_PREFIX, UNET_PREFIX, VAE_PREFIX, open_clip_prefix

Shapes = Mapping[str, tuple[int, ...]]

UNSERVED_MARKERS = {"edm_vpred.sigma_max", "edm_mean"}

PREDICTIONS: Mapping[str, PredictionType] = {
    "epsilon": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
    "velocity": "v_prediction",
}
"""What `modelspec.prediction_type` says (https://github.com/Stability-AI/ModelSpec), and what trainers write there."""

LORA = r"lora_|.*(\.lora[._]|_lora\.|\.(hada_w|lokr_w|alpha$|diff$|dora_scale))"
"""How a name of one of a LoRA's tensors begins."""

FOREIGN = {
    "a LoRA, which changes a checkpoint and is none": LORA,
    "a ControlNet": r"control_model\.|controlnet_|input_hint_block\.",
    "an IP-Adapter": r"(image_proj|ip_adapter)\.",
    "an embedding (textual inversion)": r"(clip_[gl]|emb_params|string_to_param)($|\.)",
    "a Stable Diffusion 1 checkpoint": r"cond_stage_model\.transformer\.",
    "a Stable Diffusion 2 checkpoint": r"cond_stage_model\.model\.",
    "a Stable Diffusion 3 checkpoint": r"(model\.diffusion_model\.)?joint_blocks\.",
    "a Flux checkpoint": r"(model\.diffusion_model\.)?double_blocks\.",
    "a diffusion transformer": r"(model\.diffusion_model\.)?(single_transformer|transformer|blocks|layers)(_blocks)?\.",
    "the UNet of a diffusers folder; name the whole folder instead": r"down_blocks\.",
}
"""What people take for an SDXL checkpoint, and how a name of one of its tensors begins."""

SIZES = f"{UNET_PREFIX}label_emb.0.0.weight"
"""[width, inputs]: only SDXL's UNets are told of sizes, a base of six numbers, a refiner of five."""
ENTRANCE = f"{UNET_PREFIX}input_blocks.0.0.weight"
EXTRA_CHANNELS = {8: "an image-editing model (InstructPix2Pix)", 9: "an inpainting model"}


def recognise(path: str, shapes: Shapes, metadata: Mapping[str, str]) -> Architecture:
    """The shape of the file at `path`.

    Raises:
        ServiceUnavailable: it is no SDXL base, refiner or VAE, or one that is not served; says what it is instead.
    """
    if METADATA_KEY in metadata:
        return _stated(path, metadata[METADATA_KEY])
    if unserved := sorted(UNSERVED_MARKERS & set(shapes)):
        raise ServiceUnavailable(f"{path} is marked {', '.join(unserved)}: such models are not served yet")
    _refuse_foreigners(path, shapes)
    if any(name.startswith(UNET_PREFIX) for name in shapes):
        return _as_marked(path, _with_the_parts_there(_standard(path, shapes), shapes), shapes, metadata)
    if any(name.endswith("decoder.conv_in.weight") for name in shapes):
        return SDXL_VAE
    raise ServiceUnavailable(f"{path} has neither an SDXL UNet nor a VAE in it: it is no SDXL checkpoint")


def is_lora(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names changes a checkpoint and is none."""
    return any(re.match(LORA, name) for name in names)


def _stated(path: str, statement: str) -> Architecture:
    try:
        return Architecture(**json.loads(statement))
    except (TypeError, ValueError) as error:
        raise ServiceUnavailable(f"{path} says of its shape what cannot be read: {error}") from None


def _refuse_foreigners(path: str, shapes: Shapes) -> None:
    for what, beginning in FOREIGN.items():
        if any(re.match(beginning, name) for name in shapes):
            raise ServiceUnavailable(f"{path} is {what}, not an SDXL checkpoint")


def _standard(path: str, shapes: Shapes) -> Architecture:
    channels = shapes.get(ENTRANCE, (0, 4))[1]
    if channels in EXTRA_CHANNELS:
        what = EXTRA_CHANNELS[channels]
        raise ServiceUnavailable(f"{path} is {what}: its UNet takes {channels} channels, and such are not served yet")
    for standard in (SDXL_BASE, SDXL_REFINER):
        assert standard.unet is not None
        if shapes.get(SIZES, (0, 0))[1] == standard.unet["projection_class_embeddings_input_dim"]:
            return standard
    raise ServiceUnavailable(
        f"{path} has a UNet that is neither SDXL's base nor its refiner; it may be Stable Diffusion 1 or 2"
    )


def _with_the_parts_there(standard: Architecture, shapes: Shapes) -> Architecture:
    """Other files may lend the parts that this one lacks."""

    def there(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in shapes)

    return replace(
        standard,
        vae=standard.vae if there(VAE_PREFIX) else None,
        text_encoder=standard.text_encoder if there(CLIP_PREFIX) else None,
        text_encoder_2=standard.text_encoder_2 if there(open_clip_prefix(standard.kind)) else None,
    )


def _as_marked(path: str, standard: Architecture, shapes: Shapes, metadata: Mapping[str, str]) -> Architecture:
    predicts = _prediction(path, shapes, metadata)
    if ZERO_TERMINAL_SNR_MARKER in shapes and predicts == "epsilon":
        raise ServiceUnavailable(
            f"{path} is marked {ZERO_TERMINAL_SNR_MARKER} and not {V_PREDICTION_MARKER}: "
            "a checkpoint that saw pure noise cannot predict epsilon"
        )
    return replace(standard, prediction_type=predicts, zero_terminal_snr=ZERO_TERMINAL_SNR_MARKER in shapes)


def _prediction(path: str, shapes: Shapes, metadata: Mapping[str, str]) -> PredictionType:
    """The marker's word goes before the metadata's, in which trainers leave what they found."""
    if V_PREDICTION_MARKER in shapes:
        return "v_prediction"
    stated = metadata.get("modelspec.prediction_type", "epsilon")
    if stated not in PREDICTIONS:
        raise ServiceUnavailable(f"{path} is said to predict {stated!r}: such models are not served yet")
    return PREDICTIONS[stated]
