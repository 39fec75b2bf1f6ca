"""What is loaded, by bytes: the least recently used leaves when room is needed, never one in use. Knows no torch."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

Part = TypeVar("Part")


@dataclass(slots=True)
class _Resident(Generic[Part]):
    part: Part
    size: int
    users: int = 0


class Residency(Generic[Part]):
    """Loaded parts by key, together at most `budget` bytes as long as those in use allow it."""

    def __init__(self, budget: int, size_of: Callable[[Part], int]) -> None:
        self._budget = budget
        self._size_of = size_of
        self._residents: OrderedDict[Hashable, _Resident[Part]] = OrderedDict()
        self._claimed = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._residents

    @property
    def size(self) -> int:
        """Bytes of everything loaded, and of what others have claimed."""
        return self._claimed + sum(resident.size for resident in self._residents.values())

    def take(self, key: Hashable, load: Callable[[], Part]) -> Part:
        """The part, loaded if it is not; in use until `give_back`. What `load` raises is passed on."""
        if key not in self._residents:
            part = load()
            self._residents[key] = _Resident(part, self._size_of(part))
        resident = self._residents[key]
        resident.users += 1
        self._residents.move_to_end(key)
        self._make_room()
        return resident.part

    def give_back(self, key: Hashable) -> None:
        """One user less."""
        self._residents[key].users -= 1

    @contextmanager
    def using(self, key: Hashable, load: Callable[[], Part]) -> Iterator[Part]:
        """The part, in use for the block."""
        part = self.take(key, load)
        try:
            yield part
        finally:
            self.give_back(key)

    def claim(self, size: int) -> None:
        """Leave so many bytes of the budget to something else."""
        self._claimed += size
        self._make_room()

    def disclaim(self, size: int) -> None:
        """Have them again."""
        self._claimed -= size

    def _make_room(self) -> None:
        for key in [key for key, resident in self._residents.items() if not resident.users]:
            if self.size <= self._budget:
                return
            del self._residents[key]
