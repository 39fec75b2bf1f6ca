"""A request as legs: the runs of one model after another that make its images, everything constant worked out.

It is worked out piece by piece, so that a request of many words, or of a checkpoint that is not loaded, keeps nobody
waiting for longer than one piece takes.
"""

from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
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
from gesso.sdxl.text import LENGTH, Conditioning, end_to_end
from gesso.sdxl.unet import Told, Unet
from gesso.sdxl.vae import Posterior

EMPTY_CHUNK = Chunk((), ())


class Words(NamedTuple):
    """The chunks that hold at one evaluation; `negative` is empty without guidance, `unsaid` where nothing was said."""

    positive: tuple[Chunk, ...]
    negative: tuple[Chunk, ...]
    unsaid: bool

    def chunks(self, zeros_for_empty: bool) -> tuple[Chunk, ...]:
        """Those that have to be encoded."""
        return self.positive if zeros_for_empty and self.unsaid else self.positive + self.negative


def call_key(files: CheckpointFiles, request: Paint, chunks: int) -> Hashable:
    """What images must have in common to share a UNet call, and what a call costs beside the number of its rows."""
    return files.unet, request.width, request.height, chunks


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

    @property
    def rows_of_an_image(self) -> int:
        """Rows of a UNet call that an image takes."""
        return 2 if self.unconditional else 1

    def batch_key(self, request: Paint, evaluation: int) -> Hashable:
        """Images of equal key can share a UNet call at this evaluation."""
        return call_key(self.files, request, len(self.conditional[evaluation].context) // LENGTH)

    def rows(self, evaluation: int) -> tuple[Told, ...]:
        """What the rows of one evaluation are told: the conditional one and, with guidance, the unconditional one."""
        return self.conditional[evaluation : evaluation + 1] + self.unconditional[evaluation : evaluation + 1]


@dataclass(frozen=True, slots=True)
class Plan:
    """What all images of a request have in common.

    `latent_shape` [channels, h, w]; `posterior` of the start image, where there is one; `size` in bytes of what it
    holds beside the networks.
    """

    legs: tuple[Leg, ...]
    latent_shape: tuple[int, int, int]
    posterior: Posterior | None
    size: int


Planning = Generator[None, None, Plan]
"""Yields between two pieces of the work; closing it gives back whatever it took."""


def plan(request: Paint, models: Models) -> Planning:
    """The plan of a request. Its UNets are in use, and its bytes claimed, until it is abandoned.

    Raises:
        BadRequest: the scheduler cannot run as asked.
        ServiceUnavailable: a checkpoint cannot be loaded, or is of the wrong kind.
    """
    legs: list[Leg] = []
    try:
        for run in _runs(request):
            legs.append((yield from _leg(request, models, *run)))
        _require_one_noise_schedule(request, legs)
        with models.vae(request.checkpoint) as vae:
            shape = vae.latent_shape(request.width, request.height)
            posterior = None
            if request.start is not None:
                yield
                pixels = request.start.pixels
                posterior = vae.encode(pixels.rgb, pixels.width, pixels.height)
    except BaseException:
        _give_back(legs, models)
        raise
    size = _size(legs)
    models.claim(size)
    return Plan(tuple(legs), shape, posterior, size)


def abandon(plan: Plan, models: Models) -> None:
    """Give back what `plan` took."""
    _give_back(plan.legs, models)
    models.disclaim(plan.size)


def _give_back(legs: Sequence[Leg], models: Models) -> None:
    for leg in legs:
        models.give_unet_back(leg.files)


def _size(legs: Sequence[Leg]) -> int:
    """Bytes of what the legs' rows are told, each tensor counted once."""
    rows = [told for leg in legs for told in leg.conditional + leg.unconditional]
    tensors = [told.shifts for told in rows] + list({id(told.context): told.context for told in rows}.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _require_one_noise_schedule(request: Paint, legs: Sequence[Leg]) -> None:
    """Between base and refiner a latent is as noisy as the schedule says, and so both must mean the same schedule."""
    shares = request.refinement is not None and request.refinement.high_noise_fraction > 0
    if shares and len({leg.unet.zero_terminal_snr for leg in legs}) > 1:
        base, refiner = (leg.files.id for leg in legs)
        raise BadRequest(
            f"the refiner {refiner!r} cannot take over from {base!r}, of which only one was trained to pure noise "
            "(zero terminal SNR); ask for a high-noise fraction of 0 or 1"
        )


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


def _leg(
    request: Paint, models: Models, files: CheckpointFiles, kind: Kind, span: Span, steps_before: int
) -> Generator[None, None, Leg]:
    unet = models.take_unet(files, kind)
    try:
        diffusion = Diffusion(unet.prediction_type, unet.zero_terminal_snr)
        table = compile_table(request.scheduler, request.steps, span, diffusion)
        steps = _prompt_steps(table, span, request.steps, steps_before)
        words = [_words(request, step) for step in steps]
        encoded: dict[Chunk, Conditioning] = {}
        for chunk in dict.fromkeys(chunk for one in words for chunk in one.chunks(unet.zeros_for_empty)):
            yield
            encoded[chunk] = models.conditioning(files, kind, chunk)
        conditional, unconditional = _told(request, unet, table, _prompts(unet, words, encoded), models.device)
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


def _words(request: Paint, step: int) -> Words:
    """What holds at `step`; with guidance both prompts have the longer's chunk count."""
    positive, negative = _holding(request.prompt, step), _holding(request.negative_prompt, step)
    if not is_guided(request.guidance_scale):
        return Words(positive, (), unsaid=True)
    length = max(len(positive), len(negative))
    both = [chunks + (EMPTY_CHUNK,) * (length - len(chunks)) for chunks in (positive, negative)]
    return Words(both[0], both[1], unsaid=negative == (EMPTY_CHUNK,))


def _holding(schedule: tuple[Stretch, ...], step: int) -> tuple[Chunk, ...]:
    return next((stretch.chunks for stretch in schedule if step <= stretch.until_step), schedule[-1].chunks)


def _prompts(
    unet: Unet, words: Sequence[Words], encoded: Mapping[Chunk, Conditioning]
) -> list[tuple[Conditioning, Conditioning]]:
    """The positive and the negative prompt of each evaluation; equal words share theirs."""

    @cache
    def prompt(chunks: tuple[Chunk, ...]) -> Conditioning:
        return end_to_end([encoded[chunk] for chunk in chunks])

    @cache
    def zeros(chunks: int) -> Conditioning:
        like = next(iter(encoded.values()))
        return Conditioning(
            like.context.new_zeros(chunks * len(like.context), like.context.shape[1]), torch.zeros_like(like.pooled)
        )

    return [
        (
            prompt(one.positive),
            zeros(len(one.positive)) if unet.zeros_for_empty and one.unsaid else prompt(one.negative or one.positive),
        )
        for one in words
    ]


def _told(
    request: Paint,
    unet: Unet,
    table: SolverTable,
    prompts: Sequence[tuple[Conditioning, Conditioning]],
    device: torch.device,
) -> tuple[tuple[Told, ...], tuple[Told, ...]]:
    """What the conditional and, with guidance, the unconditional row are told at each evaluation."""
    if not prompts:
        return (), ()
    timesteps = torch.tensor(table.timesteps, dtype=torch.float32, device=device)
    positive, negative = zip(*prompts, strict=True)
    conditional = unet.tell(timesteps, positive, unet.size_ids(request.width, request.height, negative=False))
    if not is_guided(request.guidance_scale):
        return conditional, ()
    return conditional, unet.tell(timesteps, negative, unet.size_ids(request.width, request.height, negative=True))
