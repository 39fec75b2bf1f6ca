"""What a call costs on this machine, as it was measured. Knows rows and seconds; knows neither torch nor what runs.

A key is whatever decides a call's cost beside its rows: a batch key, or the name of a stage and its shape.
"""

from bisect import bisect_left
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

LIMIT = 16
"""Rows of a call, at most."""

SLACK = 0.015
"""A call is large enough when a row of it costs this share more than in the cheapest size, or less."""

RATE = 0.2
"""The newest measurement's weight in the average."""

OUTLIER = 2.0
"""What took more than so many times the average counts as that many times it."""

PROBE = 64
"""One call in so many may be twice as large as pays by what is known, since what is known may be out of date."""

UNKNOWN = 0.02
"""Seconds per row of what was neither measured nor expected."""

KEPT = 1024
"""Keys that are remembered; of more, those that were longest not asked for are forgotten."""


@dataclass(slots=True)
class _Average:
    """Seconds of a call: a first call also pays for whatever is made once, so the second one may replace it."""

    seconds: float
    calls: int = 1

    def add(self, seconds: float) -> None:
        self.calls += 1
        if self.calls == 2:
            self.seconds = min(self.seconds, seconds)
        else:
            self.seconds += RATE * (min(seconds, OUTLIER * self.seconds) - self.seconds)


@dataclass(slots=True)
class _Table:
    """One key's sizes: `sizes` maps rows to seconds."""

    limit: int
    expected: float = UNKNOWN
    calls: int = 0
    sizes: dict[int, _Average] = field(default_factory=dict)
    drawn: dict[int, float] = field(default_factory=dict)

    def settled(self) -> Mapping[int, float]:
        """Seconds per row of the sizes that were called more than once."""
        return {rows: size.seconds / rows for rows, size in sorted(self.sizes.items()) if size.calls > 1}


class Costs:
    """Seconds by key and rows: measured, drawn through what was measured, or expected."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._tables: dict[Hashable, _Table] = {}
        self._alike: dict[Hashable, Hashable] = {}
        self._unlike = 1.0

    def expect(self, key: Hashable, seconds_per_row: float) -> None:
        """Say what a row is thought to cost until it is measured.

        Only the proportions between keys need be right: what is measured of some corrects what is expected of others.
        """
        self._table(key).expected = seconds_per_row

    def alike(self, key: Hashable, other: Hashable) -> None:
        """Say that calls of `key` cost what those of `other` do: what is measured of one is known of both."""
        self._alike[key] = self._alike.pop(key, other)
        if len(self._alike) > KEPT:
            del self._alike[next(iter(self._alike))]

    def measured(self, key: Hashable, rows: int, seconds: float) -> None:
        """Take one call into account."""
        table = self._table(key)
        table.calls += 1
        table.drawn.clear()
        if rows in table.sizes:
            table.sizes[rows].add(seconds)
        else:
            table.sizes[rows] = _Average(seconds)
        self._unlike += RATE * (table.sizes[rows].seconds / rows / table.expected - self._unlike)

    def seconds(self, key: Hashable, rows: int) -> float:
        """What a call of `rows` rows takes."""
        table = self._table(key)
        if not table.sizes:
            return rows * table.expected * self._unlike
        if rows not in table.drawn:
            points = sorted((size, average.seconds) for size, average in table.sizes.items())
            table.drawn[rows] = _through(points, rows)
        return table.drawn[rows]

    def cap(self, key: Hashable) -> int:
        """The rows beyond which a call pays no more: what is larger was tried and is no cheaper per row."""
        table = self._table(key)
        settled = table.settled()
        if not settled:
            return min(table.limit, 4)
        best = min(settled.values())
        enough = next(rows for rows, cost in settled.items() if cost <= best * (1 + SLACK))
        explores = enough == max(settled) or table.calls % PROBE == PROBE - 1
        return min(table.limit, 2 * enough if explores else enough)

    def halve(self, key: Hashable, rows: int = LIMIT) -> None:
        """A call of `rows` rows ran out of memory: from now on at most half as many."""
        table = self._table(key)
        table.limit = max(1, min(table.limit, rows) // 2)

    def _table(self, key: Hashable) -> _Table:
        key = self._alike.get(key, key)
        table = self._tables[key] = self._tables.pop(key, _Table(self._limit))
        if len(self._tables) > KEPT:
            del self._tables[next(iter(self._tables))]
        return table


def _through(points: list[tuple[int, float]], rows: int) -> float:
    """The line through the neighbouring points; with one point, in proportion."""
    if len(points) == 1:
        return points[0][1] * (1 + rows / points[0][0]) / 2
    right = min(max(bisect_left(points, (rows, 0.0)), 1), len(points) - 1)
    (fewer, less), (more, longer) = points[right - 1 : right + 1]
    slope = max(0.0, (longer - less) / (more - fewer))
    return max(less + slope * (rows - fewer), less * min(1.0, rows / fewer))
