"""The grammar of schedules: which brackets of a prompt choose between texts, and which are only written there.

It follows AUTOMATIC1111 1.10. Knows neither steps nor weights: `(...)`, `[word]` and escapes stay in the text as they
are, for `gesso.prompt.attention` to read. One pass with a stack: time is linear in the text, and depth has no limit.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TypeAlias

_TOKEN = re.compile(r"(?P<words>(?:[^\\\[\]():|]|\\[^\n])+)|[\[\]():|\\]")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_SWITCH_END = re.compile(rf":{_NUMBER.pattern}\]")
_OPENING = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Switch:
    """`[before:after:when]`, where `when` is a number as written; `[after:when]` has nothing before."""

    before: "Nodes"
    after: "Nodes"
    when: str


@dataclass(frozen=True, slots=True)
class Alternation:
    """`[one|two|...]`: the options take turns, step by step."""

    options: "Sequence[Nodes]"


Nodes: TypeAlias = Sequence[str | Switch | Alternation]


def read(text: str) -> Nodes:
    """The text as written words and the choices between them.

    A bar outside an alternation, or a backslash with nothing to escape, is no sentence of this grammar: then the whole
    text is words.
    """
    try:
        return _Reader().read(text) if _may_choose(text) else [text]
    except _UngrammaticalError:
        return [text]


def _may_choose(text: str) -> bool:
    """A quick look that spares most texts the reading: a choice needs a bar and a bracket after it, or a number."""
    return "|" in text.rpartition("]")[0] or _SWITCH_END.search(text) is not None


class _UngrammaticalError(Exception):
    """The text is no sentence of the grammar."""


@dataclass(slots=True)
class _Bracket:
    """A bracket that is still open; all its numbers are places in the reader's nodes."""

    token: str
    start: int
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)

    def may_stay(self) -> bool:
        """Whether it may close as emphasis, which is read later: `[a]`, `(a)`, `(a:b)`."""
        return not self.bars and len(self.colons) <= (1 if self.token == "(" else 0)


class _Reader:
    """What was read so far: a closed choice is one node, any other bracket stays among the nodes as it is written."""

    def __init__(self) -> None:
        self.nodes: list[str | Switch | Alternation] = []
        self.open: list[_Bracket] = []

    def read(self, text: str) -> Nodes:
        for token in _TOKEN.finditer(text):
            if token["words"]:
                self.nodes.append(token["words"])
            else:
                self._read_mark(token[0])
        self._abandon()
        return _joined(self.nodes)

    def _read_mark(self, mark: str) -> None:
        if mark in "([":
            self.open.append(_Bracket(mark, len(self.nodes)))
        elif mark in ")]":
            return self._close(mark)
        elif mark == ":" and self.open:
            self.open[-1].colons.append(len(self.nodes))
        elif mark == "|" and self.open:
            self.open[-1].bars.append(len(self.nodes))
        elif mark != ":":
            raise _UngrammaticalError
        self.nodes.append(mark)

    def _close(self, mark: str) -> None:
        bracket = self.open[-1] if self.open else None
        if not bracket or bracket.token != _OPENING[mark]:
            self._abandon()
        elif mark == "]" and (choice := self._choice(bracket)):
            self.open.pop()
            self.nodes[bracket.start :] = [choice]
            return
        elif bracket.may_stay():
            self.open.pop()
        else:
            self._abandon()
        self.nodes.append(mark)

    def _abandon(self) -> None:
        """A bracket that cannot close is a word, and no bracket around a loose bracket can close either."""
        if any(bracket.bars for bracket in self.open):
            raise _UngrammaticalError
        self.open.clear()

    def _choice(self, bracket: _Bracket) -> Switch | Alternation | None:
        if bracket.bars:
            return None if bracket.colons else Alternation(self._between([bracket.start, *bracket.bars]))
        if len(bracket.colons) not in (1, 2) or (when := self._number_after(bracket.colons[-1])) is None:
            return None
        *before, after, _ = self._between([bracket.start, *bracket.colons])
        return Switch(before[0] if before else [], after, when)

    def _number_after(self, colon: int) -> str | None:
        match self.nodes[colon + 1 :]:
            case [str(words)] if number := _NUMBER.fullmatch(words):
                return number[1]
        return None

    def _between(self, marks: list[int]) -> list[Nodes]:
        return [_joined(self.nodes[left + 1 : right]) for left, right in pairwise([*marks, len(self.nodes)])]


def _joined(nodes: Iterable[str | Switch | Alternation]) -> Nodes:
    """With words that follow one another as one: they are put together for every step."""
    joined: list[str | Switch | Alternation] = []
    for are_words, run in groupby(nodes, lambda node: isinstance(node, str)):
        if are_words:
            joined.append("".join(map(str, run)))
        else:
            joined.extend(run)
    return joined
