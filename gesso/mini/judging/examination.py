"""An examination of what the family paints: what is asked, what came, and how often it was right.

Knows nothing of servers: whoever examines brings something that paints. Questions that a picture answers by itself are
in `questions`, those that pictures answer side by side in `comparisons`.
"""

import base64
import io
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from gesso.mini.judging.patches import sampled

PAINTING, EDITING = "sdxl1.0-txt2img", "sdxl-img2img"
Size = tuple[int, int]
SMALL: Size = (512, 512)
Dealt = TypeVar("Dealt")


@dataclass(frozen=True)
class Asked:
    """A request: the parameters that are not left at their defaults, and the endpoint's slug."""

    body: Mapping[str, object]
    slug: str = PAINTING


Paint = Callable[[Sequence[Asked]], Iterator[Tensor]]
"""Paints what is asked, in that order: [3, height, width] RGB in 0..1."""


@dataclass(frozen=True)
class Finding:
    """Whether a picture is right in one respect; `fault` says briefly what would be wrong."""

    right: bool
    fault: str


@dataclass(frozen=True)
class Answer:
    """What was seen in a picture, and what follows for which rows."""

    seen: str
    findings: Mapping[str, Finding]


@dataclass(frozen=True)
class Question:
    """What is asked, and how a picture answers it."""

    request: Asked
    check: Callable[[Tensor], Answer]


@dataclass(frozen=True)
class Comparison:
    """What is asked first, what then, knowing what came of it, and how the two pictures answer."""

    first: Asked
    second: Callable[[Tensor], Asked]
    check: Callable[[Tensor, Tensor], Answer]


@dataclass(frozen=True)
class Verdict:
    """A finding with what was asked and seen, and with its pictures, small."""

    finding: Finding
    said: str
    pictures: tuple[Tensor, ...]


@dataclass(frozen=True)
class Row:
    """Verdicts in one respect, and the share of them that ought to be right: None where it is only reported."""

    name: str
    verdicts: tuple[Verdict, ...]
    goal: float | None = None
    note: str = ""

    @property
    def share(self) -> float:
        """How many are right, 0..1."""
        return sum(verdict.finding.right for verdict in self.verdicts) / max(len(self.verdicts), 1)

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else bool(self.verdicts) and self.share >= self.goal

    @property
    def faults(self) -> str:
        """The most frequent ones."""
        counted = Counter(verdict.finding.fault for verdict in self.verdicts if not verdict.finding.right)
        return ", ".join(f"{fault} {count}" for fault, count in counted.most_common(4))


def examined(paint: Paint, questions: Sequence[Question], goals: Mapping[str, float]) -> list[Row]:
    """Put the questions; `goals` of those rows that have one."""
    answered = []
    pictures = paint([question.request for question in questions])
    for question, picture in zip(questions, pictures, strict=True):
        answered.append(_Answered(question.request, question.check(picture), (sampled(picture),)))
    return _rows(answered, goals)


def compared(paint: Paint, comparisons: Sequence[Comparison], goals: Mapping[str, float]) -> list[Row]:
    """Make the comparisons; `goals` of those rows that have one."""
    befores = list(paint([one.first for one in comparisons]))
    requests = [one.second(before) for one, before in zip(comparisons, befores, strict=True)]
    answered = []
    for one, request, before, after in zip(comparisons, requests, befores, paint(requests), strict=True):
        answered.append(_Answered(request, one.check(before, after), (sampled(before), sampled(after))))
    return _rows(answered, goals)


@dataclass(frozen=True)
class _Answered:
    request: Asked
    answer: Answer
    pictures: tuple[Tensor, ...]


def _rows(answered: Sequence[_Answered], goals: Mapping[str, float]) -> list[Row]:
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    for one in answered:
        said = f"{one.request.body['prompt']}: {one.answer.seen}"
        for name, finding in one.answer.findings.items():
            verdicts[name].append(Verdict(finding, said, one.pictures))
    return [Row(name, tuple(found), goals.get(name)) for name, found in verdicts.items()]


def together(name: str, rows: Sequence[Row], goal: float) -> Row:
    """All of these rows as one."""
    return Row(name, tuple(verdict for row in rows for verdict in row.verdicts), goal)


def dealt(names: Iterable[Dealt], count: int, rng: random.Random) -> list[Dealt]:
    """So many of them in a mixed order, all about equally often."""
    pack = list(names)
    packs = [one for _ in range(-(-count // len(pack))) for one in rng.sample(pack, len(pack))]
    return packs[:count]


def asked(prompt: str, seed: int, size: Size = SMALL, **more: object) -> Asked:
    """Text to image, by the base."""
    width, height = size
    return Asked({"prompt": prompt, "seed": seed, "img_width": width, "img_height": height, **more})


def edited(start: Tensor, prompt: str, seed: int, **more: object) -> Asked:
    """Image to image."""
    return Asked({"image": _as_source(start), "prompt": prompt, "seed": seed, **more}, EDITING)


def as_image(picture: Tensor) -> Image.Image:
    """Of [3, height, width] in 0..1."""
    return Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())


def as_picture(file: bytes) -> Tensor:
    """What an image file shows: [3, height, width] in 0..1."""
    with Image.open(io.BytesIO(file)) as image:
        width, height = image.size
        pixels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, 3).permute(2, 0, 1) / 255


def _as_source(picture: Tensor) -> str:
    """The base64 of a PNG, as the parameter `image` takes it."""
    file = io.BytesIO()
    as_image(picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
