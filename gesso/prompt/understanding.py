"""What a prompt means over a run: which weighted text holds until which step, and its chunks.

Scheduling is read first and attention after it, in each text that a step comes to, as in AUTOMATIC1111. `AND` is a
word; a `<lora:...>` was taken out before (`gesso.prompt.loras`), and is words if it was not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gesso.errors import BadRequest, Problem
from gesso.prompt import chunks, schedule
from gesso.prompt.attention import Part, weigh
from gesso.prompt.chunks import Chunk

MOST_CHUNKS: Final = 512
"""Of all texts that a prompt's schedule comes to: each is encoded, and kept as long as its request runs."""

MOST_CHARACTERS: Final = 400_000
"""Of the same texts: marks make no chunks, and are read all the same."""

LARGEST_WEIGHT: Final = 1e30
"""Beyond it an embedding times the weight may be no float32 number."""


Meaning: TypeAlias = tuple[tuple[Part, ...], tuple[Chunk, ...]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps of a run with one meaning: those after the stretch before, up to and with `until_step`, from 1.

    A `BREAK` is the part `("BREAK", 0)`.
    """

    until_step: int
    parts: tuple[Part, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as written, and its schedule: at least one stretch, the last until the last step."""

    text: str
    schedule: tuple[Stretch, ...]


def understand(text: str, steps: int, *, parameter: str = "prompt", limit: int = 20_000) -> Prompt:
    """Read a prompt for a run of `steps` steps.

    Raises BadRequest, naming `parameter`, beyond `limit` characters, at a number that is not finite or that no float32
    could hold, and where a schedule makes more than `MOST_CHUNKS` chunks or `MOST_CHARACTERS` of it. Lone surrogates,
    which no encoding of text can carry, are read as U+FFFD.
    """
    if len(text) > limit:
        problem = f"it has {len(text)} characters; at most {limit} are allowed"
        raise BadRequest.of([Problem(parameter, f"{text[:40]}...", problem)])
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return Prompt(text, tuple(_stretches(schedule.texts(whole, steps, parameter), parameter)))


def _stretches(texts: Sequence[tuple[int, str]], parameter: str) -> list[Stretch]:
    """Equal neighbours become one; a text that comes back is not read again."""
    stretches: list[Stretch] = []
    meanings = _meanings(dict.fromkeys(text for _, text in texts), parameter)
    for until_step, text in texts:
        stretch = Stretch(until_step, *meanings[text])
        if stretches and stretches[-1].parts == stretch.parts:
            stretches.pop()
        stretches.append(stretch)
    return stretches


def _meanings(texts: Iterable[str], parameter: str) -> dict[str, Meaning]:
    meanings: dict[str, Meaning] = {}
    characters = count = 0
    for text in texts:
        characters += len(text)
        if meanings and characters > MOST_CHARACTERS:
            raise _too_much(parameter, text, f"{MOST_CHARACTERS} characters")
        meanings[text] = _meaning(text, parameter)
        count += len(meanings[text][1])
        if count > MOST_CHUNKS:
            raise _too_much(parameter, text, f"{MOST_CHUNKS} chunks of {chunks.LENGTH} tokens")
    return meanings


def _too_much(parameter: str, text: str, bound: str) -> BadRequest:
    return BadRequest.of([Problem(parameter, f"{text[:40]}...", f"it is more than {bound} over its schedule")])


def _meaning(text: str, parameter: str) -> Meaning:
    parts = tuple(weigh(text))
    for part in parts:
        _check_weight(part, parameter)
    return parts, chunks.split(parts)


def _check_weight(part: Part, parameter: str) -> None:
    if not abs(part.weight) <= LARGEST_WEIGHT:
        words = part.text if len(part.text) <= 40 else f"{part.text[:40]}..."
        problem = f"the weight of {words!r} comes to {part.weight}; a finite number such as 1.3 is allowed"
        raise BadRequest.of([Problem(parameter, str(part.weight), problem)])


def describe(prompt: Prompt) -> dict[str, object]:
    """The prompt for a listing: its schedule of weighted parts, the most tokens and chunks that a step of it has."""
    return {
        "schedule": [
            {"until_step": stretch.until_step, "parts": [list(part) for part in stretch.parts]}
            for stretch in prompt.schedule
        ],
        "tokens": max(sum(len(chunk.tokens) for chunk in stretch.chunks) for stretch in prompt.schedule),
        "chunks": max(len(stretch.chunks) for stretch in prompt.schedule),
    }
