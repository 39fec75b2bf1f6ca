"""What is loaded, by bytes: the least recently used leaves when room is needed, never one in use. Knows no torch."""

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Part = TypeVar("Part")
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, eq=False)
class Resident(Generic[Part]):
    """A part of `size` bytes. Until it has come, `part` is None; `error` says why it never will."""

    size: int
    part: Part | None = None
    error: Exception | None = None
    users: int = 0


class Residency(Generic[Key, Part]):
    """Parts by key, together at most `budget` bytes as long as those in use allow it."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._residents: OrderedDict[Key, Resident[Part]] = OrderedDict()
        self._claimed = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._residents

    @property
    def size(self) -> int:
        """Bytes of everything that is loaded or coming, and of what others have claimed."""
        return self._claimed + sum(resident.size for resident in tuple(self._residents.values()))

    def hold(self, sizes: Mapping[Key, int], keep: Iterable[Key] = ()) -> dict[Key, Resident[Part]] | None:
        """All of these parts, in use until they are given back; None when there is no room for them all now.

        What was not there yet has no part in it, and whoever asked first has to bring it. All or nothing: who waits for
        room holds none. What is to be kept does not leave for them. Where nothing is in use or to be kept there is
        always room, however large the parts are.
        """
        kept = {*sizes, *keep}
        missing = sum(size for key, size in sizes.items() if key not in self._residents)
        self._leave(self.budget - missing, kept)
        if self.size + missing > self.budget and self._is_in_use(set(keep)):
            return None
        held = {}
        for key, size in sizes.items():
            held[key] = self._residents.setdefault(key, Resident(size))
            held[key].users += 1
            self._residents.move_to_end(key)
        return held

    def give_back(self, residents: Iterable[Resident[Part]]) -> None:
        """One user less of each."""
        for resident in residents:
            resident.users -= 1
        self._leave(self.budget)

    def put(self, key: Key, part: Part, size: int) -> None:
        """A part that nobody uses yet; one that is larger than the budget is not kept."""
        self._residents[key] = Resident(size, part)
        self._leave(self.budget)

    def find(self, key: Key) -> Part | None:
        """The part, if it is there."""
        if key not in self._residents:
            return None
        self._residents.move_to_end(key)
        return self._residents[key].part

    def is_missing(self, key: Key) -> bool:
        """Whether somebody asked for the part and it has not come yet."""
        return key in self._residents and self._residents[key].part is None

    def arrived(self, key: Key, part: Part) -> None:
        """What was missing has come."""
        self._residents[key].part = part
        self._leave(self.budget)

    def failed(self, key: Key, error: Exception) -> None:
        """What was missing will not come; those who wait for it find out why, and the next may try again."""
        self._residents.pop(key).error = error

    def claim(self, size: int) -> None:
        """Leave so many bytes of the budget to something else."""
        self._claimed += size
        self._leave(self.budget)

    def disclaim(self, size: int) -> None:
        """Have them again."""
        self._claimed -= size

    def _leave(self, budget: int, kept: Collection[Key] = ()) -> None:
        """Drop what nobody uses, the least recently used first, until the rest is no larger than so many bytes."""
        for key, resident in list(self._residents.items()):
            if self.size <= budget:
                return
            if not resident.users and resident.part is not None and key not in kept:
                del self._residents[key]

    def _is_in_use(self, kept: Collection[Key]) -> bool:
        return any(one.users or one.part is None or key in kept for key, one in self._residents.items())
