"""What each account has had of the engine, and who has had more than a fair share; it is told seconds."""

from collections.abc import Mapping, Set

QUANTUM = 16.0
"""Of the longest image's time: so much more than the least an account may have had, what it still asks for included."""

SPARED = 0.5
"""Of the longest image's time: who has had no more than this above the least is spared, whatever it asks for."""


class Shares:
    """Virtual time: what an account has had, counted from the least of those that had work when it came.

    Fair queueing as Goyal, Vin and Cheng describe it (Start-time Fair Queueing, 1996), but for what is reckoned in
    advance there and as it is spent here. An account that comes back from idle has saved up nothing. The clock it
    starts from goes on while others are served, as fast as a fair share grows: a row of newcomers, each of them with
    the least, so does not keep those waiting for ever that have had more.

    How much more is too much hangs on what is asked for. Accounts that send alike differ by chance, the more the
    busier the engine; a strict share would only pass the wait of one to another. One with a pile of requests, enough to
    fill the engine for long, is held to its share from the start.
    """

    def __init__(self) -> None:
        self._had: dict[int, float] = {}
        self._present: Set[int] = frozenset()
        self._clock = 0.0

    def beyond(self, asked: Mapping[int, float], longest: float) -> Set[int]:
        """The accounts that have had more than a fair share.

        `asked`: by account, seconds of all its work that is waiting or under way; of the longest image, `longest`.
        """
        quantum, spared = QUANTUM * longest, SPARED * longest
        if asked.keys() != self._present:
            self._enter(frozenset(asked), spared)
        least = min(self._had[account] for account in asked)
        for account in asked:  # beyond a quantum it has had what nobody else wanted, and need not wait for that
            self._had[account] = min(self._had[account], least + quantum)
        return {
            account for account, seconds in asked.items() if self._had[account] - least > max(spared, quantum - seconds)
        }

    def served(self, account: int, seconds: float, share: int = 1) -> None:
        """Count `seconds` of the engine as had by `account`, to which so many times another's are fair."""
        seconds /= share
        self._had[account] = self._had.get(account, self._clock) + seconds
        self._clock += seconds / max(1, len(self._present))

    def _enter(self, present: Set[int], ahead: float) -> None:
        """Note who has come and who has gone; whoever is gone and has nothing beyond the clock is forgotten.

        The clock is at most so far `ahead` of the least of those that stay.
        """
        staying = [self._had[account] for account in present & self._present]
        if staying:
            self._clock = min(max(self._clock, min(staying)), min(staying) + ahead)
        for account in present - self._present:
            self._had[account] = max(self._had.get(account, 0.0), self._clock)
        self._had = {account: had for account, had in self._had.items() if account in present or had > self._clock}
        self._present = present
