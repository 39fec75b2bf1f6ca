"""`gesso generate`: a picture without a server."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gesso import app as house
from gesso.cli.progress import show_progress
from gesso.errors import BadRequest
from gesso.settings import read_settings


def generate(
    prompt: str,
    /,
    *,
    model: str = "sdxl1.0-txt2img",
    out: Path = Path("gesso.png"),
    preview: Path | None = None,
    negative_prompt: str | None = None,
    seed: str | None = None,
    samples: str | None = None,
    steps: Annotated[str | None, Parameter(name=["--steps", "--num-inference-steps"])] = None,
    guidance_scale: str | None = None,
    scheduler: str | None = None,
    width: Annotated[str | None, Parameter(name=["--width", "--img-width"])] = None,
    height: Annotated[str | None, Parameter(name=["--height", "--img-height"])] = None,
    style: str | None = None,
    refiner: str | None = None,
    high_noise_fraction: str | None = None,
    strength: str | None = None,
    image: Path | None = None,
    base_model: str | None = None,
    lora: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> None:
    """Paint a picture here and now; no server is needed. Parameters are those of the endpoint.

    Args:
        prompt: What to paint.
        model: The endpoint whose model paints it.
        out: Where the PNG goes; with several samples their numbers are put before its suffix.
        preview: Where a small PNG of the unfinished picture goes, anew about twice a second; numbered as `out` is.
        negative_prompt: What not to paint.
        seed: The same seed paints the same picture.
        samples: How many pictures.
        steps: Denoising steps.
        guidance_scale: How closely the prompt is followed.
        scheduler: A sampler's name.
        width: Pixels.
        height: Pixels.
        style: A style's name.
        refiner: Whether the refiner takes part: true or false.
        high_noise_fraction: The share of the noise schedule that the base paints before the refiner.
        strength: How much a start image is changed.
        image: A start image's file, for an image-to-image endpoint.
        base_model: Which model an image-to-image endpoint paints with.
        lora: A LoRA that changes the model, NAME or NAME:WEIGHT; may be said several times.
    """
    given = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "seed": seed,
        "samples": samples,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "scheduler": scheduler,
        "img_width": width,
        "img_height": height,
        "style": style,
        "refiner": refiner,
        "high_noise_fraction": high_noise_fraction,
        "strength": strength,
        "image": None if image is None else str(image),
        "base_model": base_model,
        "loras": None if lora is None else [_lora(one) for one in lora],
    }
    body = {name: value for name, value in given.items() if value is not None}
    start_image = None if image is None else _read(image)
    for path in [out] if preview is None else [out, preview]:
        _require_folder(path)
    show_preview = None if preview is None else partial(_show_preview, preview)
    pngs = asyncio.run(house.generate(read_settings(), model, body, start_image, show_progress, show_preview))
    for number, png in enumerate(pngs, start=1):
        path = _numbered(out, number, len(pngs))
        _write(path, png)
        print(path)


def _lora(said: str) -> dict[str, str]:
    name, colon, weight = said.partition(":")
    return {"name": name, "weight": weight} if colon else {"name": name}


def _show_preview(preview: Path, image: int, images: int, png: bytes) -> None:
    """Whoever looks at the file sees a whole picture, this or the one before."""
    path = _numbered(preview, image + 1, images)
    part = path.with_name(f"{path.name}.part")
    _write(part, png)
    try:
        part.replace(path)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}") from None


def _numbered(path: Path, number: int, pictures: int) -> Path:
    return path if pictures == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def _require_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise BadRequest(f"{path} cannot be written: there is no folder {path.parent}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}") from None
