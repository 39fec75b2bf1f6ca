"""Which images do the next unit of work. Knows neither torch nor models nor a clock: it is told seconds.

The shortest goes first: whoever needs the least time from now on, as Schrage showed to be best for the mean (1968). A
call has room for more than one, so those behind it join, in the same order, and one that could join is encoded before.

Long images pay for that. What they pay is bounded by the queue: an image that has been slowed beyond a threshold is
late, and one unit of work in eight is for the late, in the order in which they became so. Only what was in the queue
when an image became late comes before it there. So it waits for its threshold and then for eight times what the queue
holds, at most (but for those that have had more than a fair share); and a queue that is full refuses. (Were age part of
everybody's rank, or were the late before all others, then in a rush everything would be late, and the shortest would
wait as long as in a line.)

Between accounts the engine's time is shared fairly; whoever has had more ranks behind, but takes what is left over.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from gesso.engine.costs import Costs
from gesso.engine.shares import Shares

SLOWDOWN = 10.0
"""An image is late when it takes so many times as long, all in all, as it would alone."""

TURN = 8
"""One unit of work in so many is for the late."""

LEFT_OVER = 1.1
"""Those who rank behind may make a call of those ahead so many times as long."""

Work = Literal["encode", "denoise", "decode"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image, waiting or in flight, and what it would do next.

    Only images with equal `key` share a UNet call, of which it takes `rows`; for one that is to be encoded they say
    what it will be, as far as that is known. `remaining`: seconds of the engine that it still needs, alone, in all its
    phases; `total`: that many from its beginning; `waited`: seconds since it came.
    """

    work: Work
    key: Hashable
    account: int
    rows: int
    remaining: float
    total: float
    waited: float

    @property
    def is_late(self) -> bool:
        return self.waited + self.remaining > SLOWDOWN * self.total

    @property
    def late_since(self) -> float:
        """Seconds, for comparison only: the greater, the longer ago it was to be done."""
        return self.waited - SLOWDOWN * self.total


class Chooser:
    """What has to be remembered between units: who has had how much, and what was done last.

    Another key's weights and programs have to be brought in, which takes `switch_seconds`. So the present key is kept
    for `patience` calls, unless an image of another is shorter by more than that. Equal histories choose equally.
    """

    def __init__(self, switch_seconds: float = 0.005, patience: int = 4) -> None:
        self._switch_seconds = switch_seconds
        self._patience = patience
        self._shares = Shares()
        self._units = 0
        self._key: Hashable = None
        self._stayed = 0
        self._has_encoded = False

    def choose(self, candidates: Sequence[Candidate], costs: Costs) -> list[int]:
        """Positions of those that do the next unit together: one encode, one decode, or several steps of one key.

        Empty only if there are no candidates.
        """
        if not candidates:
            return []
        self._units += 1
        ahead, behind = self._ranked(candidates)
        leader = self._leader(candidates, ahead, behind)
        if candidates[leader].work != "denoise":
            return [leader]
        call = _Call(candidates, leader, costs)
        call.fill(ahead, behind)
        return self._encoded_first(candidates, call.company)

    def served(self, account: int, seconds: float, share: int = 1) -> None:
        """Count `seconds` of the engine as had by `account`; a call's are shared between its images."""
        self._shares.served(account, seconds, share)

    def _ranked(self, candidates: Sequence[Candidate]) -> tuple[list[int], list[int]]:
        """Everybody, the shortest first; and apart those whose account has had more than a fair share."""
        asked: dict[int, float] = {}
        for one in candidates:
            asked[one.account] = asked.get(one.account, 0.0) + one.remaining
        beyond = self._shares.beyond(asked, max(one.total for one in candidates))
        ranks = [(one.remaining, -one.waited) for one in candidates]
        order = sorted(range(len(candidates)), key=ranks.__getitem__)
        ahead = [place for place in order if candidates[place].account not in beyond]
        return ahead, [place for place in order if candidates[place].account in beyond] if beyond else []

    def _leader(self, candidates: Sequence[Candidate], ahead: list[int], behind: list[int]) -> int:
        late = [place for place in ahead if candidates[place].is_late] if self._units % TURN == 0 else []
        if late:
            leader = max(late, key=lambda place: candidates[place].late_since)
            self._has_encoded = True  # its turn is not for preparing others
        else:
            leader = self._first_or_present(candidates, ahead + behind)
        if candidates[leader].work == "denoise":
            self._stayed = self._stayed + 1 if candidates[leader].key == self._key else 1
            self._key = candidates[leader].key
        return leader

    def _first_or_present(self, candidates: Sequence[Candidate], order: Sequence[int]) -> int:
        """The first, or while the present key is kept the first of that."""
        first = candidates[order[0]]
        if first.work != "denoise" or first.key == self._key or self._stayed >= self._patience:
            return order[0]
        stay = next((place for place in order if self._is_of_present_key(candidates[place])), order[0])
        is_shorter = first.remaining + self._switch_seconds < candidates[stay].remaining
        return order[0] if is_shorter else stay

    def _is_of_present_key(self, candidate: Candidate) -> bool:
        return candidate.work == "denoise" and candidate.key == self._key

    def _encoded_first(self, candidates: Sequence[Candidate], company: list[int]) -> list[int]:
        """Those that can step now; but every other time one of the company that is yet to be encoded."""
        encodes = [place for place in company if candidates[place].work == "encode"]
        self._has_encoded = bool(encodes) and not self._has_encoded
        return encodes[:1] if self._has_encoded else [place for place in company if candidates[place].work == "denoise"]


class _Call:
    """A UNet call that fills up: `company` are the leader and those who share its call, or would if encoded."""

    def __init__(self, candidates: Sequence[Candidate], leader: int, costs: Costs) -> None:
        self.company = [leader]
        self._candidates = candidates
        self._first = candidates[leader]
        self._rows = self._first.rows
        self._costs = costs
        self._cap = costs.cap(self._first.key)

    def fill(self, ahead: Sequence[int], behind: Sequence[int]) -> None:
        """Whoever finds room joins, in order."""
        for place in ahead:
            if self._has_room(place):
                self._join(place)
        allowed = LEFT_OVER * self._seconds(0) if self.company[0] in ahead else math.inf
        for place in behind:
            if self._has_room(place) and self._seconds(self._candidates[place].rows) <= allowed:
                self._join(place)

    def _has_room(self, place: int) -> bool:
        other = self._candidates[place]
        fits = other.work != "decode" and other.key == self._first.key and self._rows + other.rows <= self._cap
        return fits and place != self.company[0]

    def _join(self, place: int) -> None:
        self.company.append(place)
        self._rows += self._candidates[place].rows

    def _seconds(self, more: int) -> float:
        """What the call takes with so many rows more."""
        return self._costs.seconds(self._first.key, self._rows + more)
