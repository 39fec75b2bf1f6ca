"""Chunks: the runs of up to 75 tokens that a CLIP text encoder sees at a time.

A prompt that is longer goes on in the next chunk, from the last comma if one is among the last 20 tokens, as in
AUTOMATIC1111; `BREAK` goes on there at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gesso.prompt import tokenizer
from gesso.prompt.attention import BREAK, Part

LENGTH: Final = 75
COMMA_REACH: Final = 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most 75 token ids and as many weights, without beginning, end and padding: those belong to each encoder."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


def split(parts: Iterable[Part]) -> tuple[Chunk, ...]:
    """The chunks of weighted parts: at least one, each part tokenized by itself."""
    chunks = _Chunks()
    for part in parts:
        if part is BREAK:
            chunks.end(len(chunks.tokens))
        else:
            for token in tokenizer.encode(part.text):
                chunks.append(token, part.weight)
    return chunks.finish()


class _Chunks:
    """The chunks that are full, and tokens and weights of the one being filled."""

    def __init__(self) -> None:
        self.full: list[Chunk] = []
        self.tokens: list[int] = []
        self.weights: list[float] = []
        self.comma: int | None = None

    def append(self, token: int, weight: float) -> None:
        if len(self.tokens) == LENGTH:
            self.end(LENGTH if token == tokenizer.COMMA else self._last_comma_in_reach())
        if token == tokenizer.COMMA:
            self.comma = len(self.tokens)
        self.tokens.append(token)
        self.weights.append(weight)

    def end(self, length: int) -> None:
        """End the chunk after that many tokens; what comes after them begins the next."""
        self.full.append(Chunk(tuple(self.tokens[:length]), tuple(self.weights[:length])))
        self.tokens, self.weights, self.comma = self.tokens[length:], self.weights[length:], None

    def finish(self) -> tuple[Chunk, ...]:
        if self.tokens or not self.full:
            self.end(len(self.tokens))
        return tuple(self.full)

    def _last_comma_in_reach(self) -> int:
        if self.comma is None or LENGTH - self.comma > COMMA_REACH:
            return LENGTH
        return self.comma + 1
