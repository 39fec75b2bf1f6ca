"""A request as legs: the runs of one model after another that make its images, everything constant worked out.

It is worked out piece by piece, so that a request of many words keeps nobody waiting for longer than one piece takes,
and says on the way which networks (of those `wanted`) it needs next.
"""

from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
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
from gesso.engine.models import Held, Models
from gesso.engine.names import Ensemble, Name, Voice, Wanted
from gesso.errors import BadRequest
from gesso.prompt.chunks import Chunk
from gesso.prompt.understanding import Stretch
from gesso.sdxl.architecture import Kind
from gesso.sdxl.text import LENGTH, Conditioning, end_to_end
from gesso.sdxl.unet import Told, Unet
from gesso.sdxl.vae import Posterior, Vae

EMPTY_CHUNK = Chunk((), ())


class Words(NamedTuple):
    """The chunks that hold at one evaluation; `negative` is empty without guidance, `unsaid` where nothing was said."""

    positive: tuple[Chunk, ...]
    negative: tuple[Chunk, ...]
    unsaid: bool

    def chunks(self, zeros_for_empty: bool) -> tuple[Chunk, ...]:
        """Those that have to be encoded."""
        return self.positive if zeros_for_empty and self.unsaid else self.positive + self.negative


def call_key(unet: Name, request: Paint, chunks: int) -> tuple[Name, int, int, int]:
    """What images must have in common to share a UNet call."""
    return unet, request.width, request.height, chunks


@dataclass(frozen=True, slots=True)
class Leg:
    """One model's run: a checkpoint's id, its UNet and what tells that apart. `latents`, `predictions` [evaluations, 4]
    and `noise` [evaluations] are the table's, float32.

    `conditional` and `unconditional` say for every evaluation what the rows are told; without guidance the latter is
    empty.
    """

    checkpoint: str
    name: Name
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
        return call_key(self.name, request, len(self.conditional[evaluation].context) // LENGTH)

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
    held: Held
    vae: Vae
    latent_shape: tuple[int, int, int]
    posterior: Posterior | None
    size: int


Needs = tuple[Name, ...]
Planning = Generator[Needs | None, Held | None, Plan]
"""Yields between two pieces of the work: the networks that the next one needs, which it is to be sent, held and all
here; or None. Closing it gives back whatever it took."""


def wanted(request: Paint, models: Models) -> Wanted:
    """The networks that a request needs.

    Raises:
        ServiceUnavailable: a checkpoint is not there, is no checkpoint, or is of the wrong kind.
    """
    ensembles = []
    for run in _runs(request):
        unet = models.unet_name(run.files, run.kind)
        ensembles.append(Ensemble(run.files.id, unet, models.form(unet), models.voice(run.files, run.kind)))
    return models.fitted(Wanted(tuple(ensembles), models.vae_name(request.checkpoint)))


def foreseen(request: Paint, wanted: Wanted, models: Models) -> tuple[Needs, Needs]:
    """What the plan of a request will need, one after the other, as far as that can be told beforehand."""
    said = {chunk for stretch in request.prompt + request.negative_prompt for chunk in stretch.chunks} - {EMPTY_CHUNK}
    voices = (ensemble.voice for ensemble in wanted.ensembles)
    asked = [voice.encoders for voice in voices if any(models.told(voice, chunk) is None for chunk in said)]
    return tuple(dict.fromkeys(asked)), wanted.painters


def plan(request: Paint, wanted: Wanted, models: Models) -> Planning:
    """The plan of a request. What it holds is in use, and its bytes claimed, until it is abandoned.

    First the text encoders are needed, and then what paints: a device that has no room for both has it for one.

    Raises:
        BadRequest: the scheduler cannot run as asked.
        ServiceUnavailable: a checkpoint was lent what does not suit it.
    """
    outlines = []
    for run, ensemble in zip(_runs(request), wanted.ensembles, strict=True):
        outlines.append(_outline(request, run, ensemble, models))
        yield None
    _require_one_noise_schedule(request, outlines)
    encoded = yield from _encode(outlines, models)
    held = yield wanted.painters
    assert held is not None
    try:
        legs = []
        for outline in outlines:
            yield None
            legs.append(_leg(request, outline, encoded, held, models.device))
        vae, posterior = held.vae(wanted.vae), None
        if request.start is not None:
            yield None
            pixels = request.start.pixels
            posterior = vae.encode(pixels.rgb, pixels.width, pixels.height)
    except BaseException:
        models.let_go(held)
        raise
    size = _size(legs)
    models.claim(size)
    return Plan(tuple(legs), held, vae, vae.latent_shape(request.width, request.height), posterior, size)


def abandon(plan: Plan, models: Models) -> None:
    """Give back what `plan` took."""
    models.let_go(plan.held)
    models.disclaim(plan.size)


def _size(legs: Sequence[Leg]) -> int:
    """Bytes of what the legs' rows are told, each tensor counted once."""
    rows = [told for leg in legs for told in leg.conditional + leg.unconditional]
    tensors = [told.shifts for told in rows] + list({id(told.context): told.context for told in rows}.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _require_one_noise_schedule(request: Paint, outlines: Sequence["_Outline"]) -> None:
    """Between base and refiner a latent is as noisy as the schedule says, and so both must mean the same schedule."""
    shares = request.refinement is not None and request.refinement.high_noise_fraction > 0
    if shares and len({outline.diffusion.zero_terminal_snr for outline in outlines}) > 1:
        assert request.refinement is not None
        base, refiner = request.checkpoint.id, request.refinement.checkpoint.id
        raise BadRequest(
            f"the refiner {refiner!r} cannot take over from {base!r}, of which only one was trained to pure noise "
            "(zero terminal SNR); ask for a high-noise fraction of 0 or 1"
        )


class _Run(NamedTuple):
    """A model's files and kind, its part of the noise schedule, and how many of the request's steps came before."""

    files: CheckpointFiles
    kind: Kind
    span: Span
    steps_before: int = 0


def _runs(request: Paint) -> Iterator[_Run]:
    """One after the other."""
    refinement = request.refinement
    if request.start is not None:
        yield _Run(request.checkpoint, "base", Strength(request.start.strength))
    elif refinement is None:
        yield _Run(request.checkpoint, "base", WholeRun())
    elif refinement.high_noise_fraction == 0:
        yield _Run(request.checkpoint, "base", WholeRun())
        yield _Run(refinement.checkpoint, "refiner", Strength(refinement.strength), request.steps)
    else:
        yield _Run(request.checkpoint, "base", DenoisingEnd(refinement.high_noise_fraction))
        yield _Run(refinement.checkpoint, "refiner", DenoisingStart(refinement.high_noise_fraction))


class _Outline(NamedTuple):
    """A leg as far as it is known without its networks: its table, and the words that hold at each evaluation."""

    ensemble: Ensemble
    diffusion: Diffusion
    table: SolverTable
    words: tuple[Words, ...]
    zeros_for_empty: bool

    @property
    def chunks(self) -> Iterable[Chunk]:
        """Those that have to be encoded."""
        return dict.fromkeys(chunk for one in self.words for chunk in one.chunks(self.zeros_for_empty))


def _outline(request: Paint, run: _Run, ensemble: Ensemble, models: Models) -> _Outline:
    known = models.architecture(ensemble.unet)
    diffusion = Diffusion(known.prediction_type, known.zero_terminal_snr)
    table = compile_table(request.scheduler, request.steps, run.span, diffusion)
    steps = _prompt_steps(table, run.span, request.steps, run.steps_before)
    words = tuple(_words(request, step) for step in steps)
    return _Outline(ensemble, diffusion, table, words, known.force_zeros_for_empty_prompt)


Encoded = dict[tuple[Voice, Chunk], Conditioning]


def _encode(outlines: Sequence[_Outline], models: Models) -> Generator[Needs | None, Held | None, Encoded]:
    """What the legs are told of every chunk: remembered, or encoded now."""
    encoded: Encoded = {}
    missing = []
    for outline in outlines:
        voice = outline.ensemble.voice
        for chunk in outline.chunks:
            if (told := models.told(voice, chunk)) is not None:
                encoded[voice, chunk] = told
            else:
                missing.append((voice, chunk))
    if not missing:
        return encoded
    held = yield tuple(dict.fromkeys(voice.encoders for voice, _ in missing))
    assert held is not None
    try:
        for voice, chunk in missing:
            yield None
            told = held.encoders(voice.encoders).encode(chunk, voice.kind, voice.clip_skip)
            models.remember(voice, chunk, told)
            encoded[voice, chunk] = told
    finally:
        models.let_go(held)
    return encoded


def _leg(request: Paint, outline: _Outline, encoded: Encoded, held: Held, device: torch.device) -> Leg:
    ensemble, table = outline.ensemble, outline.table
    unet = held.unet(ensemble.unet)
    by_chunk = {chunk: encoded[ensemble.voice, chunk] for chunk in outline.chunks}
    conditional, unconditional = _told(request, unet, table, _prompts(unet, outline.words, by_chunk), device)
    return Leg(
        checkpoint=ensemble.checkpoint,
        name=ensemble.unet,
        unet=unet,
        table=table,
        latents=torch.tensor(table.latents, dtype=torch.float32).to(device),
        predictions=torch.tensor(table.predictions, dtype=torch.float32).to(device),
        noise=torch.tensor(table.noise, dtype=torch.float32).to(device),
        conditional=conditional,
        unconditional=unconditional,
    )


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
