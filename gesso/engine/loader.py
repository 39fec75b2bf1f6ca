"""What comes from disk, in a thread of its own: one by one, each once however many wait for it. Knows no torch."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
Part = TypeVar("Part")
Note = Callable[[int], None]


@dataclass(slots=True, eq=False)
class Load(Generic[Key, Part]):
    """`done` of `due` bytes are there. When it is over it has a `part`, or an `error` instead."""

    key: Key
    what: str
    due: int
    bring: Callable[[Note], Part]
    done: int = 0
    begun_at: float | None = None
    part: Part | None = None
    error: Exception | None = None

    @property
    def is_over(self) -> bool:
        return self.part is not None or self.error is not None

    @property
    def seconds_left(self) -> float | None:
        """As far as its pace so far tells."""
        if self.begun_at is None or not self.done:
            return None
        return (time.monotonic() - self.begun_at) * (self.due - self.done) / self.done

    def run(self) -> None:
        self.begun_at = time.monotonic()
        try:
            self.part = self.bring(self._note)
        except BaseException as error:  # a panic in a library is no Exception, and the thread must live on
            self.error = error if isinstance(error, Exception) else RuntimeError(repr(error))

    def _note(self, size: int) -> None:
        self.done += size


class Loader(Generic[Key, Part]):
    """Loads in the order in which they were begun; its thread lives while there is something to load."""

    def __init__(self) -> None:
        self.over = 0
        """How many were brought, or could not be."""
        self._under_way: dict[Key, Load[Key, Part]] = {}
        self._waiting: deque[Load[Key, Part]] = deque()
        self._finished: deque[Load[Key, Part]] = deque()
        self._is_working = False
        self._lock = threading.Lock()
        self._news = threading.Event()

    @property
    def under_way(self) -> tuple[Load[Key, Part], ...]:
        """Those not over yet, the present one first; may be asked from another thread."""
        return tuple(load for load in self._under_way.copy().values() if not load.is_over)

    def begin(self, load: Load[Key, Part]) -> None:
        """Bring it, unless the same is under way."""
        if load.key in self._under_way:
            return
        self._under_way[load.key] = load
        with self._lock:
            self._waiting.append(load)
            if not self._is_working:
                self._is_working = True
                threading.Thread(target=self._work, daemon=True, name="loader").start()

    def finished(self) -> list[Load[Key, Part]]:
        """What is over since the last call."""
        self._news.clear()
        over = []
        while self._finished:
            over.append(self._finished.popleft())
            del self._under_way[over[-1].key]
        self.over += len(over)
        return over

    def wait(self, seconds: float) -> None:
        """Until something is over, or so long."""
        self._news.wait(seconds)

    def _work(self) -> None:
        while (load := self._next()) is not None:
            load.run()
            self._finished.append(load)
            self._news.set()

    def _next(self) -> Load[Key, Part] | None:
        with self._lock:
            self._is_working = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None
