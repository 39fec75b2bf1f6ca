"""A request as legs: the runs of one model after another that make its images, everything constant worked out."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.diffusion.guidance import is_guided
from gesso.diffusion.solver_table import SolverTable, compile_table
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength, WholeRun
from gesso.engine.messages import CheckpointFiles, Paint
from gesso.engine.models import Models
from gesso.prompt.chunks import Chunk
from gesso.prompt.understanding import Stretch
from gesso.sdxl.text import Conditioning
from gesso.sdxl.unet import Unet

EMPTY_CHUNK = Chunk((), ())


@dataclass(frozen=True, slots=True)
class Told:
    """What one row of a UNet call is told beside its latent; `size_ids` as `Unet.size_ids` says."""

    conditioning: Conditioning
    size_ids: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Leg:
    """One model's run. `latents`, `predictions`: [evaluations, 4] and `noise`: [evaluations], float32, of the table.

    `conditional` and `unconditional` say for every evaluation what the rows are told; without guidance the latter is
    empty.
    """

    files: CheckpointFiles
    unet: Unet
    table: SolverTable
    latents: Tensor
    predictions: Tensor
    noise: Tensor
    conditional: tuple[Told, ...]
    unconditional: tuple[Told, ...]


def plan(request: Paint, models: Models) -> tuple[Leg, ...]:
    """The legs of a request. Their UNets are in use until given back, one use a leg.

    Raises:
        BadRequest: the scheduler cannot run as asked.
        ServiceUnavailable: a checkpoint cannot be loaded.
    """
    legs: list[Leg] = []
    try:
        for files, span, steps_before in _runs(request):
            legs.append(_leg(request, models, files, span, steps_before))
    except BaseException:
        abandon(legs, models)
        raise
    return tuple(legs)


def abandon(legs: tuple[Leg, ...] | list[Leg], models: Models) -> None:
    """Give back what `plan` took."""
    for leg in legs:
        models.give_unet_back(leg.files)


def _runs(request: Paint) -> Iterator[tuple[CheckpointFiles, Span, int]]:
    """Each model's files, its part of the noise schedule, and how many of the request's steps were run before it."""
    refinement = request.refinement
    if request.start is not None:
        yield request.checkpoint, Strength(request.start.strength), 0
    elif refinement is None:
        yield request.checkpoint, WholeRun(), 0
    elif refinement.high_noise_fraction == 0:
        yield request.checkpoint, WholeRun(), 0
        yield refinement.checkpoint, Strength(refinement.strength), request.steps
    else:
        yield request.checkpoint, DenoisingEnd(refinement.high_noise_fraction), 0
        yield refinement.checkpoint, DenoisingStart(refinement.high_noise_fraction), 0


def _leg(request: Paint, models: Models, files: CheckpointFiles, span: Span, steps_before: int) -> Leg:
    unet = models.take_unet(files)
    try:
        table = compile_table(request.scheduler, request.steps, span, unet.prediction_type)
        steps = _prompt_steps(table, span, steps_before)
        pairs = [(_holding(request.prompt, step), _holding(request.negative_prompt, step)) for step in steps]
        return Leg(
            files=files,
            unet=unet,
            table=table,
            latents=torch.tensor(table.latents, dtype=torch.float32).to(models.device),
            predictions=torch.tensor(table.predictions, dtype=torch.float32).to(models.device),
            noise=torch.tensor(table.noise, dtype=torch.float32).to(models.device),
            conditional=tuple(_told(request, models, files, unet, *pair, negative=False) for pair in pairs),
            unconditional=tuple(_told(request, models, files, unet, *pair, negative=True) for pair in pairs)
            if is_guided(request.guidance_scale)
            else (),
        )
    except BaseException:
        models.give_unet_back(files)
        raise


def _prompt_steps(table: SolverTable, span: Span, steps_before: int) -> list[int]:
    """The step, from 1, that a prompt's schedule counts for each evaluation: over the steps really taken."""
    skipped = int(table.step_of[0]) - 1 if isinstance(span, Strength) and table.evaluations else 0
    return [int(step) - skipped + steps_before for step in table.step_of]


def _holding(schedule: tuple[Stretch, ...], step: int) -> tuple[Chunk, ...]:
    """The chunks that hold at `step`."""
    return next((stretch.chunks for stretch in schedule if step <= stretch.until_step), schedule[-1].chunks)


def _told(
    request: Paint,
    models: Models,
    files: CheckpointFiles,
    unet: Unet,
    positive: tuple[Chunk, ...],
    opposite: tuple[Chunk, ...],
    *,
    negative: bool,
) -> Told:
    """What a conditional or unconditional row is told. Both of an image's rows have the longer one's chunk count."""
    own, other = (opposite, positive) if negative else (positive, opposite)
    length = max(len(own), len(other)) if is_guided(request.guidance_scale) else len(own)
    conditioning = models.conditioning(files, unet.kind, own + (EMPTY_CHUNK,) * (length - len(own)))
    if negative and unet.zeros_for_empty and own == (EMPTY_CHUNK,):
        conditioning = Conditioning(torch.zeros_like(conditioning.context), torch.zeros_like(conditioning.pooled))
    return Told(conditioning, unet.size_ids(request.width, request.height, negative))
