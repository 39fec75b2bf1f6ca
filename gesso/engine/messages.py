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
class CheckpointFiles:
    """Where a checkpoint's weights lie. Encoders and VAE are in `unet`'s own file unless another file lends them."""

    id: str
    unet: str
    text_encoders: str | None = None
    vae: str | None = None


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
    `width` and `height` are pixels; `start.pixels`, where there is one, has just this size.
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
class Painted:
    """Image `image` (from 0) is done."""

    id: str
    image: int
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Finished:
    """Every image of the request was painted; `seconds` from admission to here."""

    id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The request is over without its pictures. `unavailable`: the engine or a checkpoint is not there to paint it;
    `refused`: it cannot be painted as asked; `failed`: it was tried and went wrong."""

    id: str
    reason: Literal["unavailable", "refused", "failed"]
    sentence: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The engine is alive: `ticks` UNet calls so far, `rows` of work in them, `images` in flight now."""

    ticks: int
    rows: int
    images: int
    device: str


Event = Admitted | Progress | Painted | Finished | Failed


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine is: `ticks` UNet calls since it started, `images` in flight, `device` as torch names it."""

    status: Literal["starting", "ready", "down"]
    ticks: int
    rows: int
    images: int
    device: str
