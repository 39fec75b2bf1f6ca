"""What a request got, what it cost, and where its time went."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Picture:
    """One delivered picture: `png` is what is stored under `token`, byte for byte."""

    token: str
    seed: int
    width: int
    height: int
    png: bytes


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds: `queue` of waiting, in the server and in the engine; `encode`, `denoise`, `decode` of the engine's work
    that the request had part in; `write` until its pictures were stored.
    """

    queue: float
    encode: float
    denoise: float
    decode: float
    write: float


@dataclass(frozen=True, slots=True)
class Course:
    """How a delivery came about, as it is told and kept. `remaining_micro`: what its account had left just then;
    `infer_seconds` in the engine, from admission; `company`: the images in the UNet calls that it had part in, on
    average, its own among them.
    """

    remaining_micro: int
    infer_seconds: float
    phases: Phases
    company: float

    def to_json(self) -> dict[str, Any]:
        """For the database."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """As it was."""
        return cls(**{**kept, "phases": Phases(**kept["phases"])})


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a request got and what it cost; `pictures` in seed order. A request that is sent again gets it again."""

    request_id: str
    pictures: tuple[Picture, ...]
    cost_micro: int
    course: Course
