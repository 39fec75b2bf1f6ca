"""Which sizes of UNet call give a row the very bits that it gets in a call of two.

A call of another size may run other kernels, and those may sum in another order: with two threads, calls of three rows
and of four differ at some shapes. So calls have one of a few sizes, and the first call of each size at each shape is
made twice, whole and two rows at a time. A size that disagrees is not used again there. Which kernels run depends on
shapes, not on what is in them, so one comparison of a whole prediction is enough.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

SMALLEST = 2
"""Rows in the smallest call: a single row is computed as a vector is, which sums in another order."""


class Agreement:
    """What is known so far, by shape (whatever decides, beside the number of rows, which kernels run) and size."""

    def __init__(self) -> None:
        self._verdicts: dict[tuple[Hashable, int], bool] = {}

    def evaluate(self, shape: Hashable, rows: int, call: Callable[[Sequence[int]], Tensor]) -> Tensor:
        """`call` on all of `rows`, each with the bits that it has in a call of two: [rows, ...].

        `call` takes numbers of rows, in which one may come twice, and gives [their count, ...].
        """
        parts: list[Tensor] = []
        done = 0
        while done < rows:
            size = self._size(shape, rows - done)
            taken = range(done, min(done + size, rows))
            parts.append(self._call(shape, [*taken, *[taken[-1]] * (size - len(taken))], call)[: len(taken)])
            done += size
        return torch.cat(parts)

    def _size(self, shape: Hashable, rows: int) -> int:
        """The next even number, or the largest below it that is not known to disagree."""
        sizes = range(rows + rows % 2, SMALLEST, -2)
        return next((size for size in sizes if self._verdicts.get((shape, size), True)), SMALLEST)

    def _call(self, shape: Hashable, rows: list[int], call: Callable[[Sequence[int]], Tensor]) -> Tensor:
        if len(rows) == SMALLEST or (shape, len(rows)) in self._verdicts:
            return call(rows)
        whole = call(rows)
        in_pairs = torch.cat([call(rows[first : first + 2]) for first in range(0, len(rows), 2)])
        if in_pairs.isfinite().all():  # what is not a number equals nothing, itself included
            self._verdicts[shape, len(rows)] = torch.equal(whole, in_pairs)
        return in_pairs
