"""The LoRAs that a prompt names: `<lora:film:0.8>`, as in AUTOMATIC1111 1.10.

They are taken out before anything else of a prompt is read, so that they stand outside of its schedules and weights:
a LoRA holds for the whole run. Knows no file: a name is whatever stands there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gesso.errors import BadRequest, Problem

MOST: Final = 8
"""Different ones that may change a picture, and marks that a refusal names."""
LARGEST: Final = 4.0
"""A LoRA's weight lies between this and its negative."""

_MARK = re.compile(r"<(\w+):([^>]+)>")
"""Of any extra network there; all but `lora` are words here."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_NAMED = ("te", "unet")
_ALLOWED = f"allowed is a number from {-LARGEST:g} to {LARGEST:g}"


@dataclass(frozen=True, slots=True)
class NamedLora:
    """A LoRA by its name, and how strongly it changes the text encoders and the UNet; 1 is as it was trained."""

    name: str
    text_encoders: float
    unet: float


def take_loras(text: str, parameter: str = "prompt") -> tuple[str, tuple[NamedLora, ...]]:
    """The text without the LoRAs that it names, and these, in order.

    `<lora:name>` has the weight 1, `<lora:name:0.8>` another, `<lora:name:0.5:0.8>` one for the text encoders and one
    for the UNet; `te=0.5` and `unet=0.8` say the same by name. Any other `<...>` stays in the text.

    Raises BadRequest naming `parameter` and each mark (the first eight) whose weight is no number from -4 to 4, or that
    says more.
    """
    loras: list[NamedLora] = []
    problems: list[Problem] = []
    marks = _marks(text)
    for mark in marks:
        try:
            loras.append(_lora(mark[2].split(":")))
        except _UnreadableError as error:
            problems.append(Problem(parameter, _short(mark[0]), f"{_short(mark[0])}: {error}"))
    if problems:
        raise BadRequest.of(problems[:MOST])
    ends = [0, *(end for mark in marks for end in mark.span()), len(text)]
    return "".join(text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)), tuple(loras)


def refuse_loras(text: str, parameter: str) -> None:
    """Raises BadRequest if the text names a LoRA."""
    if marks := _marks(text):
        shown = _short(marks[0][0])
        problem = f"{shown}: a LoRA holds for the whole picture; name it in the prompt"
        raise BadRequest.of([Problem(parameter, shown, problem)])


def _marks(text: str) -> list[re.Match[str]]:
    """Behind the last bracket nothing can end: to look there would take quadratic time."""
    return [mark for mark in _MARK.finditer(text, 0, text.rfind(">") + 1) if mark[1] == "lora"]


def _short(mark: str) -> str:
    return mark if len(mark) <= 80 else f"{mark[:80]}..."


def added(loras: Iterable[NamedLora]) -> tuple[NamedLora, ...]:
    """Each name once, by name: what was said of it several times is added up."""
    sums: dict[str, NamedLora] = {}
    for lora in loras:
        so_far = sums.get(lora.name, NamedLora(lora.name, 0.0, 0.0))
        sums[lora.name] = NamedLora(lora.name, so_far.text_encoders + lora.text_encoders, so_far.unet + lora.unet)
    return tuple(sums[name] for name in sorted(sums))


def written(lora: NamedLora) -> str:
    """The mark that says this in a prompt."""
    weights = dict.fromkeys(repr(weight).removesuffix(".0") for weight in (lora.text_encoders, lora.unet))
    return f"<lora:{lora.name}:{':'.join(weights)}>"


class _UnreadableError(Exception):
    """What stands between the brackets says nothing that a LoRA has."""


def _lora(items: Sequence[str]) -> NamedLora:
    """The name comes first; of the rest, what has an `=` is said by name, and a name goes before a place."""
    name, *rest = items
    places = [item for item in rest if "=" not in item]
    named = dict(_pair(item) for item in rest if "=" in item)
    if len(places) > 2:
        raise _UnreadableError(
            f"{places[2]!r} is one too many; allowed is a weight, or one for the text and one for the UNet"
        )
    first = _number(places[0]) if places else 1.0
    text_encoders = named.get("te", first)
    unet = _number(places[1]) if places[1:] else text_encoders
    return NamedLora(name.strip(), text_encoders, named.get("unet", unet))


def _pair(item: str) -> tuple[str, float]:
    name, _, value = item.partition("=")
    if name.strip() not in _NAMED:
        raise _UnreadableError(f"{name!r} is not known here; known are {' and '.join(_NAMED)}")
    return name.strip(), _number(value)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise _UnreadableError(f"the weight {text!r} is not a number; {_ALLOWED}")
    if not abs(number := float(text)) <= LARGEST:
        raise _UnreadableError(f"the weight {text!r} is out of range; {_ALLOWED}")
    return number
