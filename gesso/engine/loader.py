"""What comes from disk, in a thread of its own: one by one, each once however many wait for it. Knows no torch."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
        except Exception as error:
            self.error = error

    def _note(self, size: int) -> None:
        self.done += size


@dataclass(eq=False)
class Loader(Generic[Key, Part]):
    """Loads in the order in which they were begun; the thread is started with the first. `over` counts those done."""

    over: int = 0
    _under_way: dict[Key, Load[Key, Part]] = field(default_factory=dict)
    _waiting: "queue.SimpleQueue[Load[Key, Part]]" = field(default_factory=queue.SimpleQueue)
    _done: "queue.SimpleQueue[Load[Key, Part]]" = field(default_factory=queue.SimpleQueue)
    _news: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def under_way(self) -> tuple[Load[Key, Part], ...]:
        """Those not over yet, the present one first; may be asked from another thread."""
        return tuple(load for load in self._under_way.copy().values() if not load.is_over)

    def begin(self, load: Load[Key, Part]) -> None:
        """Bring it, unless the same is under way."""
        if load.key in self._under_way:
            return
        self._under_way[load.key] = load
        self._waiting.put(load)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="loader")
            self._thread.start()

    def finished(self) -> list[Load[Key, Part]]:
        """What is over since the last call."""
        self._news.clear()
        over = []
        while not self._done.empty():
            over.append(self._done.get())
            del self._under_way[over[-1].key]
        self.over += len(over)
        return over

    def wait(self, seconds: float) -> None:
        """Until something is over, or so long."""
        self._news.wait(seconds)

    def _work(self) -> None:
        while True:
            load = self._waiting.get()
            load.run()
            self._done.put(load)
            self._news.set()
            del load  # or it would keep its part until the next
