"""Which sizes of UNet call give every image the very bits that it has alone.

A call of another size may run other kernels or split them between threads elsewhere, and so sum in another order.
Alone, an image is a call of two rows: its guided pair, or its one row twice. (A call of one row is like no other:
matrices become vectors there.) So calls have an even number of rows, and the first calls of each size at each shape are
made twice, whole and image by image. A size that disagrees is not used again at that shape. Which kernels run, and how,
depends on shapes alone; but bfloat16 rounds most of a difference away, so it takes many numbers to see that none is
left.
"""

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

TRUSTED = 100_000
"""After so many numbers of predictions that agreed a size is compared no more.

Where calls are known to differ, at latents of 2 x 3, bfloat16 shows it in one number of some 40,000.
"""

Call = Callable[[Sequence[int]], Tensor]


class Agreement:
    """What is known so far, by shape (whatever decides, beside the number of rows, which kernels run) and size.

    `comparisons` that were made; they cost more than the calls themselves.
    """

    def __init__(self) -> None:
        self._agreed: dict[tuple[Hashable, int], int] = {}
        self._disagrees: set[tuple[Hashable, int]] = set()
        self.comparisons = 0

    def evaluate(self, shape: Hashable, images: Sequence[range], call: Call) -> Tensor:
        """`call` on the rows of all images, each with the bits that it has alone: [rows, ...].

        `images` are the one or two rows of each, consecutive from 0; `call` takes numbers of rows, in which one may
        come twice, and gives [their count, ...].
        """
        parts: list[Tensor] = []
        done = 0
        while done < len(images):
            count = self._count(shape, images[done:])
            parts.append(self._part(shape, images[done : done + count], call))
            done += count
        return torch.cat(parts)

    def _count(self, shape: Hashable, images: Sequence[range]) -> int:
        """How many of the images can share a call: as many as make no size that is known to disagree."""
        counts = range(len(images), 1, -1)
        return next((count for count in counts if self._may(shape, _rows(images[:count]))), 1)

    def _may(self, shape: Hashable, rows: Sequence[int]) -> bool:
        return (shape, len(rows)) not in self._disagrees

    def _part(self, shape: Hashable, images: Sequence[range], call: Call) -> Tensor:
        rows, wanted = _rows(images), sum(map(len, images))
        if len(images) == 1 or self._agreed.get((shape, len(rows)), 0) >= TRUSTED:
            return call(rows)[:wanted]
        self.comparisons += 1
        each = torch.cat([call(_rows([image]))[: len(image)] for image in images])
        if each.isfinite().all():  # what is not a number equals nothing, itself included
            self._judge((shape, len(rows)), each, call(rows)[:wanted])
        return each

    def _judge(self, size: tuple[Hashable, int], each: Tensor, whole: Tensor) -> None:
        if torch.equal(each, whole):
            self._agreed[size] = self._agreed.get(size, 0) + each.numel()
        else:
            self._disagrees.add(size)


def _rows(images: Sequence[range]) -> list[int]:
    """The images' rows, the last one twice where that makes their number even."""
    rows = [row for image in images for row in image]
    return [*rows, *rows[-1:]] if len(rows) % 2 else rows
