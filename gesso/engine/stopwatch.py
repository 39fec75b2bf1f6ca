"""How long work takes on a device, without making anyone wait for it."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Note = Callable[[float], None]
"""Is told a number of seconds."""


class Stopwatch:
    """A GPU is given work and does it later: what that took is known when it is done, and told then."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._running: deque[tuple[Any, Any, Note]] = deque()

    @contextmanager
    def timing(self, note: Note) -> Iterator[None]:
        """Time the block's work and tell `note`, unless the block raises: on a CPU at its end, on a GPU at a `tell`."""
        if not self._on_gpu:
            began = time.perf_counter()
            yield
            note(time.perf_counter() - began)
            return
        event: Any = torch.cuda.Event
        begin, end = event(enable_timing=True), event(enable_timing=True)
        begin.record()
        yield
        end.record()
        self._running.append((begin, end, note))

    def tell(self) -> None:
        """Tell of all work that is done by now."""
        while self._running and self._running[0][1].query():
            begin, end, note = self._running.popleft()
            note(begin.elapsed_time(end) / 1000)
