r"""Attention: which weight each word of a text has.

`(word)` is worth 1.1, `(word:1.3)` 1.3, `[word]` 1/1.1; around one another they multiply. A backslash takes the meaning
off what follows, `BREAK` ends a chunk. As in AUTOMATIC1111 1.10, what is never closed lasts to the end, and what was
never opened is a word. Unlike there, `BREAK` is heard inside brackets too.
"""

import math
import re
from itertools import groupby
from typing import Final, NamedTuple

from gesso.prompt.brackets import ROUND, Brackets

# No possessive quantifiers, here and in `grammar`: up to Python 3.11.4, Debian's 3.11.2 among them, matches go wrong.
_DECIMAL = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_NOT_FINITE = r"[+-]?(?:[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])"
_NUMBER = rf"(?:{_DECIMAL}(?:[eE][+-]?\d+)?|{_NOT_FINITE})"
_TOKEN = re.compile(
    rf"""
      \\ (?P<escaped> [\\()\[\]]? )
    | (?P<opening> [(\[]+ )
    | : \s* (?P<weight> {_NUMBER} ) \s* \)
    | (?P<closing> [)\]]+ )
    | (?P<words> (?: [^\\()\[\]:] | : (?! \s* {_NUMBER} \s* \) ) )+ )
    """,
    re.VERBOSE,
)
_PLAIN_NUMBER = re.compile(_DECIMAL)
_BREAK = re.compile(r"\bBREAK\b")


class Part(NamedTuple):
    """Text of one weight."""

    text: str
    weight: float


BREAK: Final = Part("BREAK", 0)
"""The end of a chunk. It is told by identity: escapes can make an ordinary part that looks the same."""


def weigh(text: str) -> list[Part]:
    """The parts of a text in order, at least one; words that follow one another differ in weight.

    A weight may be infinite or NaN: whoever uses it decides about that.
    """
    reader = _Reader()
    for token in _TOKEN.finditer(text):
        reader.read(token)
    return _merge(reader.parts()) or [Part("", 1.0)]


def _merge(parts: list[Part]) -> list[Part]:
    runs = groupby(parts, key=lambda part: (part is BREAK, part.weight))
    return [BREAK if is_break else Part("".join(part.text for part in run), weight) for (is_break, weight), run in runs]


def _factor(number: str) -> float | None:
    """What a written weight multiplies by; None for what is only words: a finite number with an exponent."""
    factor = float(number)
    return factor if _PLAIN_NUMBER.fullmatch(number) or not math.isfinite(factor) else None


class _Reader:
    """Words as they come, each with the round and the square bracket directly around it; None for a break."""

    def __init__(self) -> None:
        self.words: list[tuple[str, int, int] | None] = []
        self.brackets = Brackets()

    def parts(self) -> list[Part]:
        weight = self.brackets.weight
        return [BREAK if words is None else Part(words[0], weight(words[1], words[2])) for words in self.words]

    def read(self, token: re.Match[str]) -> None:
        kind = token.lastgroup
        if kind == "opening":
            self._open(token[0])
        elif kind == "closing":
            self._close(token[0])
        elif kind == "weight":
            self._close_with_weight(token[0], token["weight"])
        elif kind == "escaped":
            self._write(token["escaped"])
        else:
            self._write_between_breaks(token[0])

    def _open(self, marks: str) -> None:
        for mark in marks:
            if mark == "(":
                self.brackets.open_round()
            else:
                self.brackets.open_square()

    def _close(self, marks: str, factor: float = ROUND) -> None:
        if not (self.brackets.round or self.brackets.square):
            return self._write(marks)
        for mark in marks:
            if mark == ")" and self.brackets.round:
                self.brackets.close_round(factor)
            elif mark == "]" and self.brackets.square:
                self.brackets.close_square()
            else:
                self._write(mark)

    def _close_with_weight(self, weighting: str, number: str) -> None:
        factor = _factor(number) if self.brackets.round else None
        if factor is None:
            self._write(weighting[:-1])
        self._close(")", ROUND if factor is None else factor)

    def _write_between_breaks(self, words: str) -> None:
        first, *others = _BREAK.split(words)
        self._write(first.rstrip() if others else first)
        for position, other in enumerate(others, 1):
            self.words.append(None)
            self._write(other.strip() if position < len(others) else other.lstrip())

    def _write(self, words: str) -> None:
        self.words.append((words, self.brackets.round, self.brackets.square))
