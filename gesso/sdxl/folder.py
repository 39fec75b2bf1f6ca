"""What a folder in diffusers' layout holds, told by its own configurations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import Architecture, Kind
from gesso.sdxl.tensors import read_json

Part = Literal["unet", "vae", "text_encoder", "text_encoder_2"]

INDEX = "model_index.json"
STEMS: Mapping[Part, str] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""What each part's file of weights is called, without its ending."""

PIPELINES = ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline")
NOISE_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
"""SDXL's, as a folder's scheduler states it. Which scheduler that is does not matter: a request names its own."""


def read_folder(path: Path) -> tuple[Architecture, dict[Part, Path]]:
    """The shape of the checkpoint in the folder at `path`, and the folder of each part that it has.

    Raises:
        ServiceUnavailable: it is no folder of an SDXL checkpoint or of its VAE, or of one that is not served.
    """
    if (path / INDEX).is_file():
        return _checkpoint(path, read_json(path / INDEX))
    if (path / "config.json").is_file():
        return _vae_alone(path)
    raise ServiceUnavailable(f"{path} is a folder without {INDEX}: no checkpoint in diffusers' layout")


def _vae_alone(path: Path) -> tuple[Architecture, dict[Part, Path]]:
    config = read_json(path / "config.json")
    if (name := config.get("_class_name")) != "AutoencoderKL":
        raise ServiceUnavailable(f"{path} holds a {name} alone: name the whole checkpoint's folder")
    return Architecture("vae", "epsilon", False, None, config, None, None), {"vae": path}


def _checkpoint(path: Path, index: Mapping[str, Any]) -> tuple[Architecture, dict[Part, Path]]:
    if index.get("_class_name") not in PIPELINES:
        raise ServiceUnavailable(f"{path} is for {index.get('_class_name')}; served are {' and '.join(PIPELINES)}")
    folders = {part: path / part for part in STEMS if _is_there(path, index, part)}
    if "unet" not in folders:
        raise ServiceUnavailable(f"{path} has no UNet in it")
    configs = {part: read_json(folder / "config.json") for part, folder in folders.items()}
    scheduler = read_json(path / "scheduler" / "scheduler_config.json")
    _require_sdxls_schedule(path, scheduler)
    kind: Kind = "base" if _takes_six_sizes(configs["unet"], configs.get("text_encoder_2")) else "refiner"
    try:
        architecture = Architecture(
            kind=kind,
            prediction_type=scheduler.get("prediction_type", "epsilon"),
            force_zeros_for_empty_prompt=bool(index.get("force_zeros_for_empty_prompt", True)),
            unet=configs["unet"],
            vae=configs.get("vae"),
            text_encoder=configs.get("text_encoder"),
            text_encoder_2=configs.get("text_encoder_2"),
            zero_terminal_snr=bool(scheduler.get("rescale_betas_zero_snr", False)),
        )
    except ValueError as error:
        raise ServiceUnavailable(f"{path}: {error}") from None
    return architecture, folders


def _is_there(path: Path, index: Mapping[str, Any], part: Part) -> bool:
    """A part that the index knows of must be there; a refiner's index says that it has no first encoder."""
    library = index.get(part)
    named = isinstance(library, list) and library and library[0] is not None
    return bool(named) or (part not in index and (path / part).is_dir())


def _takes_six_sizes(unet: Mapping[str, Any], encoder: Mapping[str, Any] | None) -> bool:
    """Whether a UNet is a base's, told of six numbers, or a refiner's, told of five; by widths alone, as
    diffusers' pipelines tell them apart."""
    pooled = (encoder or {}).get("projection_dim", 1280)
    sizes, width = unet.get("projection_class_embeddings_input_dim") or 0, unet.get("addition_time_embed_dim") or 1
    return bool(sizes == pooled + 6 * width)


def _require_sdxls_schedule(path: Path, scheduler: Mapping[str, Any]) -> None:
    if scheduler.get("_class_name", "").startswith("EDM"):
        raise ServiceUnavailable(f"{path} was trained by {scheduler['_class_name']}: such models are not served yet")
    for name, value in NOISE_SCHEDULE.items():
        if scheduler.get(name, value) != value:
            raise ServiceUnavailable(f"{path} was trained with {name} = {scheduler[name]!r}, not SDXL's {value!r}")
