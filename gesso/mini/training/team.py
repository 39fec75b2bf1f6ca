"""Processes that train one model together: each learns from pictures of its own, and all take the same step.

Networks this small keep one thread busier than two: two processes of one thread each see twice as many pictures a
second as one of two threads that sleep at barriers.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.multiprocessing.spawn import spawn


@dataclass(frozen=True)
class Team:
    """This process's place among `size`; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Bring tensors to the mean of all processes', in place."""
        if self.size > 1:
            self.add(tensors)
            torch._foreach_div_(list(tensors), self.size)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Bring tensors to the sum of all processes', in place."""
        if self.size == 1:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(together)
        parts = torch.split(together, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(list(tensors), [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])

    def all(self, own: Any) -> list[Any]:
        """What every process has, by rank."""
        if self.size == 1:
            return [own]
        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, own)
        return gathered


def together(size: int, work: Callable[[Team], None]) -> None:
    """Do the work in so many processes; ends when all have ended.

    `work` must be picklable. Raises what the first process to fail raises, the others being stopped.
    """
    if size == 1:
        work(Team())
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        spawn(_join, (size, str(meeting), work), nprocs=size)  # type: ignore[no-untyped-call]


def _join(rank: int, size: int, meeting: str, work: Callable[[Team], None]) -> None:
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=size)
    try:
        work(Team(rank, size))
    finally:
        distributed.destroy_process_group()
