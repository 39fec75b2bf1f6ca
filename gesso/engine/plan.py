"""A request as legs: the runs of one model after another that make its images, everything constant worked out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gesso.diffusion.guidance import is_guided
from gesso.diffusion.schedulers import Diffusion
from gesso.diffusion.solver_table import SolverTable, compile_table
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength, WholeRun
from gesso.engine.messages import CheckpointFiles, Paint
from gesso.engine.models import Models
from gesso.errors import BadRequest
from gesso.prompt.chunks import Chunk
from gesso.prompt.understanding import Stretch
from gesso.sdxl.architecture import Kind
from gesso.sdxl.text import Conditioning
from gesso.sdxl.unet import Told, Unet

EMPTY_CHUNK = Chunk((), ())


class Words(NamedTuple):
    """The chunks that hold at one evaluation."""

    positive: tuple[Chunk, ...]
    negative: tuple[Chunk, ...]


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

    def rows(self, evaluation: int) -> tuple[Told, ...]:
        """What the rows of one evaluation are told: the conditional one and, with guidance, the unconditional one."""
        return self.conditional[evaluation : evaluation + 1] + self.unconditional[evaluation : evaluation + 1]


def plan(request: Paint, models: Models) -> tuple[Leg, ...]:
    """The legs of a request. Their UNets are in use until given back, one use a leg.

    Raises:
        BadRequest: the scheduler cannot run as asked, or the refiner cannot take over from this base.
        ServiceUnavailable: a checkpoint cannot be loaded, or is of the wrong kind.
    """
    legs: list[Leg] = []
    try:
        for run in _runs(request):
            legs.append(_leg(request, models, *run))
        _require_one_noise_schedule(request, legs)
    except BaseException:
        abandon(legs, models)
        raise
    return tuple(legs)


def _require_one_noise_schedule(request: Paint, legs: Sequence[Leg]) -> None:
    """Between base and refiner a latent is as noisy as the schedule says, and so both must mean the same schedule."""
    shares = request.refinement is not None and request.refinement.high_noise_fraction > 0
    if shares and len({leg.unet.zero_terminal_snr for leg in legs}) > 1:
        base, refiner = (leg.files.id for leg in legs)
        raise BadRequest(
            f"the refiner {refiner!r} cannot take over from {base!r}, of which only one was trained to pure noise "
            "(zero terminal SNR); ask for a high-noise fraction of 0 or 1"
        )


def abandon(legs: Sequence[Leg], models: Models) -> None:
    """Give back what `plan` took."""
    for leg in legs:
        models.give_unet_back(leg.files)


def _runs(request: Paint) -> Iterator[tuple[CheckpointFiles, Kind, Span, int]]:
    """Each model's files and kind, its part of the noise schedule, and how many of the request's steps came before."""
    refinement = request.refinement
    if request.start is not None:
        yield request.checkpoint, "base", Strength(request.start.strength), 0
    elif refinement is None:
        yield request.checkpoint, "base", WholeRun(), 0
    elif refinement.high_noise_fraction == 0:
        yield request.checkpoint, "base", WholeRun(), 0
        yield refinement.checkpoint, "refiner", Strength(refinement.strength), request.steps
    else:
        yield request.checkpoint, "base", DenoisingEnd(refinement.high_noise_fraction), 0
        yield refinement.checkpoint, "refiner", DenoisingStart(refinement.high_noise_fraction), 0


def _leg(request: Paint, models: Models, files: CheckpointFiles, kind: Kind, span: Span, steps_before: int) -> Leg:
    unet = models.take_unet(files, kind)
    try:
        diffusion = Diffusion(unet.prediction_type, unet.zero_terminal_snr)
        table = compile_table(request.scheduler, request.steps, span, diffusion)
        steps = _prompt_steps(table, span, request.steps, steps_before)
        words = [Words(_holding(request.prompt, step), _holding(request.negative_prompt, step)) for step in steps]
        encoded = {one: _encoded(request, models, files, unet, one) for one in dict.fromkeys(words)}
        conditional, unconditional = _told(request, models, unet, table, [encoded[one] for one in words])
        return Leg(
            files=files,
            unet=unet,
            table=table,
            latents=torch.tensor(table.latents, dtype=torch.float32).to(models.device),
            predictions=torch.tensor(table.predictions, dtype=torch.float32).to(models.device),
            noise=torch.tensor(table.noise, dtype=torch.float32).to(models.device),
            conditional=conditional,
            unconditional=unconditional,
        )
    except BaseException:
        models.give_unet_back(files)
        raise


def _prompt_steps(table: SolverTable, span: Span, steps: int, steps_before: int) -> list[int]:
    """The step, from 1, that a prompt's schedule counts for each evaluation: over the steps really taken.

    PLMS takes one evaluation more than steps, wherever it begins: its first two count as one step.
    """
    skipped = span.skipped(steps) if isinstance(span, Strength) else 0
    return [max(int(step) - skipped, 1) + steps_before for step in table.step_of]


def _holding(schedule: tuple[Stretch, ...], step: int) -> tuple[Chunk, ...]:
    """The chunks that hold at `step`."""
    return next((stretch.chunks for stretch in schedule if step <= stretch.until_step), schedule[-1].chunks)


def _encoded(
    request: Paint, models: Models, files: CheckpointFiles, unet: Unet, words: Words
) -> tuple[Conditioning, Conditioning]:
    """The positive and the negative prompt; with guidance both have the longer's chunk count."""
    length = max(map(len, words)) if is_guided(request.guidance_scale) else len(words.positive)

    def encoded(chunks: tuple[Chunk, ...]) -> Conditioning:
        return models.conditioning(files, unet.kind, chunks + (EMPTY_CHUNK,) * (length - len(chunks)))

    positive, negative = encoded(words.positive), encoded(words.negative)
    if unet.zeros_for_empty and words.negative == (EMPTY_CHUNK,):
        negative = Conditioning(torch.zeros_like(negative.context), torch.zeros_like(negative.pooled))
    return positive, negative


def _told(
    request: Paint,
    models: Models,
    unet: Unet,
    table: SolverTable,
    encoded: Sequence[tuple[Conditioning, Conditioning]],
) -> tuple[tuple[Told, ...], tuple[Told, ...]]:
    """What the conditional and the unconditional row are told at each evaluation, given the prompts that hold there."""
    if not encoded:
        return (), ()
    timesteps = torch.tensor(table.timesteps, dtype=torch.float32, device=models.device)
    positive, negative = zip(*encoded, strict=True)
    conditional = unet.tell(timesteps, positive, unet.size_ids(request.width, request.height, negative=False))
    if not is_guided(request.guidance_scale):
        return conditional, ()
    return conditional, unet.tell(timesteps, negative, unet.size_ids(request.width, request.height, negative=True))
