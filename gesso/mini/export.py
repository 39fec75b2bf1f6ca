"""Writes the trained family as the files that ship: SDXL single files in float16, their shapes in the metadata.

The base is complete. Looks and refiner are UNets alone and take encoders and autoencoder from the base.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from gesso.sdxl.architecture import Architecture, Kind
from gesso.sdxl.writing import write_weights


@dataclass(frozen=True)
class Family:
    """Everything trained; `unets` by file name, `base` among them."""

    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection
    vae: AutoencoderKL
    unets: Mapping[str, UNet2DConditionModel]


def export(family: Family, folder: Path) -> None:
    """Write one file for every UNet, the base's with all other parts in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, unet in family.unets.items():
        path = folder / f"{name}.safetensors"
        if name == "base":
            write_weights(
                path,
                _whole(family),
                unet=unet,
                text_encoder=family.text_encoder,
                text_encoder_2=family.text_encoder_2,
                vae=family.vae,
            )
        else:
            write_weights(path, _alone(unet, "refiner" if name == "refiner" else "base"), unet=unet)
        path.chmod(0o644)  # they are installed for everybody


def _whole(family: Family) -> Architecture:
    return Architecture(
        kind="base",
        prediction_type="v_prediction",
        force_zeros_for_empty_prompt=True,
        unet=_settings(family.unets["base"].config),
        vae=_settings(family.vae.config),
        text_encoder=family.text_encoder.config.to_dict(),
        text_encoder_2=family.text_encoder_2.config.to_dict(),
    )


def _alone(unet: UNet2DConditionModel, kind: Kind) -> Architecture:
    """An absent prompt is blank to the refiner too: it was trained so."""
    return Architecture(
        kind=kind,
        prediction_type="v_prediction",
        force_zeros_for_empty_prompt=True,
        unet=_settings(unet.config),
        vae=None,
        text_encoder=None,
        text_encoder_2=None,
    )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What was set, without diffusers' private entries and what is left at None."""
    return {name: value for name, value in config.items() if not name.startswith("_") and value is not None}
