"""A valid request made definite: which files, which words until which step, which seeds, at what price.

Everything after this only obeys: an order is resolved once and never changed.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.entries import ParameterValue
from gesso.catalogue.validation import ValidRequest
from gesso.diffusion.names import require_served
from gesso.engine.messages import CheckpointFiles, Paint, Pixels, Refinement, StartImage
from gesso.errors import BadRequest, Problem
from gesso.prompt.understanding import Stretch, understand

HIGHEST_DRAWN_SEED: Final = 999_999_999_999_995
"""So that every sample of a request with a drawn seed has a seed that can be asked for again."""

Values = Mapping[str, ParameterValue]


@dataclass(frozen=True, slots=True)
class Order:
    """What is painted, and what it costs when all of it is delivered."""

    paint: Paint
    slug: str
    cost_micro: int
    prompt: str
    """With the style applied, as `negative_prompt`."""
    negative_prompt: str
    request: Values
    """The values asked for with the seed drawn, without the start image."""

    @property
    def id(self) -> str:
        """The request's id, which is the job's."""
        return self.paint.id


def resolve(
    valid: ValidRequest, request_id: str, catalogue: Catalogue, models_dir: Path, start_image: Pixels | None = None
) -> Order:
    """The order that this request is, its job to be known as `request_id`.

    `start_image` is what the parameter `image` names, read and brought to its final size; the picture gets the same.

    Raises BadRequest for a scheduler that is not served, words that mean nothing, and a strength that leaves no step.
    """
    endpoint, values = valid.endpoint, valid.values
    scheduler = str(values["scheduler"])
    require_served(scheduler)
    start = None if start_image is None else StartImage(start_image, _number(values, "strength"))
    refinement = _refinement(valid, catalogue, models_dir)
    prompt, negative_prompt = _words(values, catalogue)
    steps = _steps_taken(_integer(values, "num_inference_steps"), start, refinement)
    seeds = _seeds(values)
    paint = Paint(
        id=request_id,
        checkpoint=_files(catalogue, endpoint.base(values), models_dir),
        prompt=_understood("prompt", prompt, steps),
        negative_prompt=_understood("negative_prompt", negative_prompt, steps),
        scheduler=scheduler,
        steps=_integer(values, "num_inference_steps"),
        guidance_scale=_number(values, "guidance_scale"),
        width=start_image.width if start_image else _integer(values, "img_width"),
        height=start_image.height if start_image else _integer(values, "img_height"),
        seeds=seeds,
        start=start,
        refinement=refinement,
    )
    request = {name: value for name, value in values.items() if name != "image"} | {"seed": seeds[0]}
    cost = endpoint.price_microcredits * len(seeds)
    return Order(paint, endpoint.slug, cost, prompt, negative_prompt, request)


def _files(catalogue: Catalogue, checkpoint_id: str, models_dir: Path) -> CheckpointFiles:
    def path(id: str | None) -> str | None:
        return None if id is None else str(catalogue.checkpoints[id].path(models_dir))

    entry = catalogue.checkpoints[checkpoint_id]
    return CheckpointFiles(entry.id, str(entry.path(models_dir)), path(entry.text_encoders), path(entry.vae))


def _refinement(valid: ValidRequest, catalogue: Catalogue, models_dir: Path) -> Refinement | None:
    """The refiner's part: none where it was not asked for, is not there, or would begin when the base is done."""
    values, refiner = valid.values, valid.endpoint.refiner
    if refiner is None or not values.get("refiner") or _number(values, "high_noise_fraction") >= 1:
        return None
    files = _files(catalogue, refiner, models_dir)
    return Refinement(files, _number(values, "high_noise_fraction"), _number(values, "strength"))


def _words(values: Values, catalogue: Catalogue) -> tuple[str, str]:
    """The positive and the negative prompt in the style asked for."""
    prompt, negative_prompt = str(values["prompt"]), str(values["negative_prompt"] or "")
    style = values.get("style")
    return catalogue.styles[str(style)].apply(prompt, negative_prompt) if style else (prompt, negative_prompt)


def _understood(parameter: str, text: str, steps: int) -> tuple[Stretch, ...]:
    """How long a text may be was judged when it was read, before a style came around it: so here it is its own limit."""
    return understand(text, steps, parameter=parameter, limit=len(text)).schedule


def _steps_taken(steps: int, start: StartImage | None, refinement: Refinement | None) -> int:
    """The steps that prompts count: of base and refiner together, or of image-to-image those that are really run."""
    if start is not None:
        return _share(steps, start.strength)
    if refinement is not None and refinement.high_noise_fraction == 0:
        return steps + _share(steps, refinement.strength)
    return steps


def _share(steps: int, strength: float) -> int:
    taken = min(int(steps * strength), steps)
    if taken == 0:
        allowed = f"{strength} of {steps} steps is less than one step; use a higher strength or more steps"
        raise BadRequest.of([Problem("strength", strength, allowed)])
    return taken


def _seeds(values: Values) -> tuple[int, ...]:
    first = secrets.randbelow(HIGHEST_DRAWN_SEED + 1) if values["seed"] is None else _integer(values, "seed")
    return tuple(range(first, first + _integer(values, "samples")))


def _integer(values: Values, name: str) -> int:
    value = values[name]
    assert isinstance(value, int), f"{name} was read as an integer"
    return value


def _number(values: Values, name: str) -> float:
    value = values[name]
    assert isinstance(value, int | float), f"{name} was read as a number"
    return value
