"""A valid request made definite: which files, which words until which step, which seeds, at what price.

Everything after this only obeys: an order is resolved once and never changed.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.validation import ValidRequest
from gesso.diffusion.span import Strength
from gesso.engine.messages import CheckpointFiles, Paint, Pixels, Refinement, StartImage
from gesso.errors import BadRequest, Problem
from gesso.jobs.loras import asked_loras
from gesso.prompt.understanding import Stretch, understand

HIGHEST_DRAWN_SEED: Final = 999_999_999_999_995
"""So that every sample of a request with a drawn seed has a seed that can be asked for again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is painted, and what it costs when all of it is delivered."""

    paint: Paint
    slug: str
    cost_micro: int
    prompt: str
    """With the style applied, as `negative_prompt`, and with every LoRA named as a prompt can name it."""
    negative_prompt: str
    request: Mapping[str, object]
    """The values asked for with the seed drawn, without the start image, in the forms of JSON."""

    @property
    def id(self) -> str:
        """The request's id, which is the job's."""
        return self.paint.id


def resolve(
    valid: ValidRequest,
    request_id: str,
    catalogue: Catalogue,
    *,
    models_dir: Path,
    account_id: int = 0,
    share: int = 1,
    start_image: Pixels | None = None,
) -> Order:
    """The order that this request of this account with this share is, its job to be known as `request_id`.

    `start_image` is what the parameter `image` names, read and brought to its final size; the picture gets the same.

    Raises BadRequest for words and LoRAs that mean nothing, with all that do, and for a strength that leaves no step.
    """
    problems: list[Problem] = []
    start = None if start_image is None else StartImage(start_image, valid.number("strength"))
    refinement = _refinement(valid, catalogue, models_dir)
    steps = _steps_taken(valid.integer("num_inference_steps"), start, refinement)
    prompt, negative_prompt = _words(valid, catalogue)
    seeds = _seeds(valid)
    checkpoint = _files(catalogue, valid.endpoint.base(valid.values), models_dir)
    asked = asked_loras(valid, prompt, negative_prompt, catalogue, models_dir, problems)
    understood = [
        _understood(parameter, text, steps, problems)
        for parameter, text in (("prompt", asked.words), ("negative_prompt", negative_prompt))
    ]
    if problems:
        raise BadRequest.of(problems)
    paint = Paint(
        id=request_id,
        checkpoint=replace(checkpoint, loras=asked.files),
        prompt=understood[0],
        negative_prompt=understood[1],
        scheduler=valid.text("scheduler"),
        steps=valid.integer("num_inference_steps"),
        guidance_scale=valid.number("guidance_scale"),
        width=start_image.width if start_image else valid.integer("img_width"),
        height=start_image.height if start_image else valid.integer("img_height"),
        seeds=seeds,
        start=start,
        refinement=refinement,
        account=account_id,
        share=share,
    )
    cost = valid.endpoint.price.of(paint.steps, paint.width * paint.height) * len(seeds)
    return Order(paint, valid.endpoint.slug, cost, asked.told, negative_prompt, _request(valid, seeds[0]))


def _files(catalogue: Catalogue, checkpoint_id: str, models_dir: Path) -> CheckpointFiles:
    def path(id: str | None) -> str | None:
        return None if id is None else str(catalogue.checkpoints[id].path(models_dir))

    entry = catalogue.checkpoints[checkpoint_id]
    unet = str(entry.path(models_dir))
    return CheckpointFiles(entry.id, unet, path(entry.text_encoders), path(entry.vae), entry.clip_skip)


def _refinement(valid: ValidRequest, catalogue: Catalogue, models_dir: Path) -> Refinement | None:
    """The refiner's part: none where it was not asked for, is not there, or would begin when the base is done."""
    refiner = valid.endpoint.refiner
    if refiner is None or not valid.switch("refiner") or valid.number("high_noise_fraction") >= 1:
        return None
    files = _files(catalogue, refiner, models_dir)
    return Refinement(files, valid.number("high_noise_fraction"), valid.number("strength"))


def _words(valid: ValidRequest, catalogue: Catalogue) -> tuple[str, str]:
    """The positive and the negative prompt, in the style asked for."""
    prompt, negative_prompt = valid.text("prompt"), valid.text("negative_prompt")
    if "style" not in valid.values:
        return prompt, negative_prompt
    return catalogue.styles[valid.text("style")].apply(prompt, negative_prompt)


def _request(valid: ValidRequest, seed: int) -> Mapping[str, object]:
    lists = {
        name: [dict(zip(parameter.fields, row, strict=True)) for row in valid.rows(name)]
        for name, parameter in valid.endpoint.parameters.items()
        if parameter.type == "list"
    }
    return {name: value for name, value in valid.values.items() if name != "image"} | lists | {"seed": seed}


def _understood(parameter: str, text: str, steps: int, problems: list[Problem]) -> tuple[Stretch, ...]:
    """How long a text may be was judged when it was read, before a style came around it: so it is its own limit."""
    try:
        return understand(text, steps, parameter=parameter, limit=len(text)).schedule
    except BadRequest as error:
        problems.extend(error.problems)
        return ()


def _steps_taken(steps: int, start: StartImage | None, refinement: Refinement | None) -> int:
    """The steps that prompts count: of base and refiner together, or of image-to-image those that are really run."""
    if start is not None:
        return Strength(start.strength).taken(steps)
    if refinement is not None and refinement.high_noise_fraction == 0:
        return steps + Strength(refinement.strength).taken(steps)
    return steps


def _seeds(valid: ValidRequest) -> tuple[int, ...]:
    drawn = valid.values["seed"] is None
    first = secrets.randbelow(HIGHEST_DRAWN_SEED + 1) if drawn else valid.integer("seed")
    return tuple(range(first, first + valid.integer("samples")))
