"""Which images do the next unit of work. Knows neither torch nor models nor a clock: it is told seconds."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gesso.engine.costs import Costs

Work = Literal["encode", "denoise", "decode"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image, waiting or in flight, and what it would do next.

    Only images with equal `key` share a UNet call, of which it takes `rows`. `remaining`: seconds of the engine that it
    still needs, alone, in all its phases; `total`: that many from its beginning; `waited`: seconds since it came.
    """

    work: Work
    key: Hashable
    account: int
    rows: int
    remaining: float
    total: float
    waited: float


class _Shares:
    """How much each account has had, in virtual time: seconds of the engine since all were last equal."""

    def __init__(self) -> None:
        self._had: dict[int, float] = {}
        self._present: frozenset[int] = frozenset()
        self._clock = 0.0

    def present(self, accounts: frozenset[int], quantum: float) -> frozenset[int]:
        """Say which accounts have work; told are those that have had over a quantum more than the least of them."""
        staying = accounts & self._present
        least = min((self._had[account] for account in staying), default=self._clock)
        self._clock = min(max(self._clock, least), least + quantum)
        for account in accounts - self._present:
            self._had[account] = max(self._had.get(account, 0.0), self._clock)
        least = min(self._had[account] for account in accounts)
        for account in accounts:
            self._had[account] = min(self._had[account], least + 2 * quantum)
        self._present = accounts
        return frozenset(account for account in accounts if self._had[account] > least + quantum)

    def served(self, account: int, seconds: float) -> None:
        self._had[account] = self._had.get(account, self._clock) + seconds
        self._clock += seconds / max(1, len(self._present))


class Chooser:
    """Shortest remaining work first, in fair shares."""

    def __init__(self, switch_seconds: float = 0.005, patience: int = 4, slowdown: float = 10.0) -> None:
        self._switch_seconds = switch_seconds
        self._patience = patience
        self._slowdown = slowdown
        self._shares = _Shares()
        self._key: Hashable = None
        self._stayed = 0
        self._prepared = False

    def choose(self, candidates: Sequence[Candidate], costs: Costs) -> list[int]:
        """Positions of those that do the next unit together: one encode, one decode, or several steps of one key."""
        if not candidates:
            return []
        order = self._order(candidates)
        leader = self._leader(candidates, order)
        if candidates[leader].work != "denoise":
            return [leader]
        company = list(_company(candidates, leader, order, costs.cap(candidates[leader].key)))
        unready = [place for place in company if candidates[place].work == "encode"]
        if unready and not self._prepared:
            self._prepared = True
            return unready[:1]
        self._prepared = False
        return [place for place in company if candidates[place].work == "denoise"]

    def served(self, account: int, seconds: float) -> None:
        """Count `seconds` of the engine as had by `account`; a call's are shared between its images."""
        self._shares.served(account, seconds)

    def _order(self, candidates: Sequence[Candidate]) -> list[int]:
        quantum = max(candidate.total for candidate in candidates)
        over = self._shares.present(frozenset(candidate.account for candidate in candidates), quantum)
        ranks = [(candidate.account in over, *self._rank(candidate)) for candidate in candidates]
        return sorted(range(len(candidates)), key=ranks.__getitem__)

    def _rank(self, candidate: Candidate) -> tuple[bool, float]:
        allowed = self._slowdown * candidate.total
        if candidate.waited + candidate.remaining > allowed:
            return False, allowed - candidate.waited
        return True, candidate.remaining

    def _leader(self, candidates: Sequence[Candidate], order: Sequence[int]) -> int:
        """The first, unless it is worth staying with the present key."""
        first = candidates[order[0]]
        if first.work != "denoise" or first.key == self._key:
            self._stayed += first.work == "denoise"
            return order[0]
        stay = next((place for place in order if self._is_present(candidates[place])), None)
        if stay is not None and self._stays(first, candidates[stay]):
            self._stayed += 1
            return stay
        self._key, self._stayed = first.key, 1
        return order[0]

    def _stays(self, first: Candidate, present: Candidate) -> bool:
        return self._stayed < self._patience and first.remaining + self._switch_seconds >= present.remaining

    def _is_present(self, candidate: Candidate) -> bool:
        return candidate.work == "denoise" and candidate.key == self._key


def _company(candidates: Sequence[Candidate], leader: int, order: Sequence[int], cap: int) -> Iterator[int]:
    """The leader, and in order whoever can share its call."""
    yield leader
    room = cap - candidates[leader].rows
    for place in order:
        other = candidates[place]
        if place != leader and other.work != "decode" and other.key == candidates[leader].key and other.rows <= room:
            yield place
            room -= other.rows
