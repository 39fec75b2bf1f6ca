"""What crosses the boundary between a server and its engine: plain, frozen, serialisable; no tensor, no callable.

A server sends `Paint` and `Cancel`; an engine answers with events. Every event but `Heartbeat` belongs to one request,
and every request that is not cancelled ends in exactly one `Finished` or `Failed`. When an engine dies, its requests
begin anew in the next one: `Admitted` and `Progress` are said again, an image that was `Painted` is not.
"""

from dataclasses import dataclass
from typing import Literal

from gesso.prompt.understanding import Stretch


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture: `rgb` is [height, width, 3] uint8, row by row."""

    width: int
    height: int
    rgb: bytes


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A LoRA's file, and how strongly it changes the UNet and the text encoders; 1 is as it was trained."""

    id: str
    path: str
    unet: float
    text_encoders: float


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Where a checkpoint's weights lie. Encoders and VAE are in `unet`'s own file unless another file lends them.
    `clip_skip`: which of the encoders' layers is read, counted from the last as 1. `loras` change the weights.
    """

    id: str
    unet: str
    text_encoders: str | None = None
    vae: str | None = None
    clip_skip: int = 2
    loras: tuple[LoraFile, ...] = ()


@dataclass(frozen=True, slots=True)
class StartImage:
    """What image-to-image starts from; `strength` in (0, 1] is the share of the steps that is run."""

    pixels: Pixels
    strength: float


@dataclass(frozen=True, slots=True)
class Refinement:
    """How the refiner takes part.

    `high_noise_fraction` in (0, 1): the base paints that share of the noise schedule, the refiner the rest.
    0: the base finishes and the refiner redraws its latents with `strength` in (0, 1].
    """

    checkpoint: CheckpointFiles
    high_noise_fraction: float
    strength: float


@dataclass(frozen=True, slots=True)
class Paint:
    """One request: `len(seeds)` images that differ in nothing but their seed.

    `prompt` and `negative_prompt` say what holds until which step, the last stretch until the last step.
    `width` and `height` are pixels; `start.pixels`, where there is one, has just this size. `account` is a number of
    whoever asks: an engine is fair between those of different numbers, each by its `share` of the engine's time. With
    `previews`, unfinished images are shown.
    """

    id: str
    checkpoint: CheckpointFiles
    prompt: tuple[Stretch, ...]
    negative_prompt: tuple[Stretch, ...]
    scheduler: str
    steps: int
    guidance_scale: float
    width: int
    height: int
    seeds: tuple[int, ...]
    start: StartImage | None = None
    refinement: Refinement | None = None
    account: int = 0
    share: int = 1
    previews: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop painting at the next step. Unknown and finished ids are ignored; nothing more is said of the request."""

    id: str


Command = Paint | Cancel


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request has its place in the running batch."""

    id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Image `image` (from 0) has `done` of `due` model evaluations behind it."""

    id: str
    image: int
    done: int
    due: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What image `image` (from 0) looks like after `done` model evaluations, roughly and small."""

    id: str
    image: int
    done: int
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Painted:
    """Image `image` (from 0) is done."""

    id: str
    image: int
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time in the engine went, in seconds: `queue` until it was admitted, then in computing what it
    had part in, alone or with others. `company`: the images in the UNet calls it took part in, on average, its own too.
    """

    queue: float
    encode: float
    denoise: float
    decode: float
    company: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Every image of the request was painted; `seconds` from admission to here."""

    id: str
    seconds: float
    timings: Timings


@dataclass(frozen=True, slots=True)
class Failed:
    """The request is over without its pictures. `unavailable`: the engine or a checkpoint is not there to paint it,
    but may be `retry_after` seconds later; `refused`: it cannot be painted as asked; `failed`: it was tried and went
    wrong."""

    id: str
    reason: Literal["unavailable", "refused", "failed"]
    sentence: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """So many images of one checkpoint and size, in pixels, are in flight."""

    checkpoint: str
    width: int
    height: int
    images: int


@dataclass(frozen=True, slots=True)
class Loading:
    """A network comes from the disk: `done` of `due` bytes are there."""

    what: str
    done: int
    due: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that weights take of a place, `cuda`, `cpu` or `host`, of those that they may; on the device, requests' own
    bytes too. `computing`: those that are left beside, where that has bounds."""

    place: str
    taken: int
    budget: int
    computing: int | None = None


Stage = Literal["idle", "preparing", "denoising", "decoding"]
"""What an engine is at. `preparing`: encoding prompts, bringing in a network."""


BEAT = 0.5
"""Seconds between heartbeats."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The engine is alive: `ticks` UNet calls so far, `rows` of work in them, `images` in flight now, made up of
    `batches`, and `waiting` images not admitted yet; `loading` is what they may wait for, after `loads` that have come
    so far. `stages` counts the stages
    that it has begun, of which `stage` is the present one.
    """

    ticks: int
    rows: int
    images: int
    waiting: int
    batches: tuple[Batch, ...]
    loads: int
    loading: tuple[Loading, ...]
    memory: tuple[Memory, ...]
    stage: Stage
    stages: int
    device: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The engine cannot work with the settings that it was given, and ends; the sentence says what would be right."""

    sentence: str


Event = Admitted | Progress | Preview | Painted | Finished | Failed

Status = Literal["starting", "ready", "down"]


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine is: `ticks` UNet calls since it started and `rows` in them, `images` in flight, made up of
    `batches`, `waiting` ones that it holds beside these, what is `loading` after `loads` that have come, how full its
    memory is, and its `device` as torch names it. With a `refusal` it is down for good: a setting cannot be right.
    """

    status: Status
    ticks: int = 0
    rows: int = 0
    images: int = 0
    waiting: int = 0
    batches: tuple[Batch, ...] = ()
    loads: int = 0
    loading: tuple[Loading, ...] = ()
    memory: tuple[Memory, ...] = ()
    device: str = ""
    refusal: str | None = None
