"""Which images step now. Knows neither torch nor models: an image here is its batch key and how many rows it needs."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that could step: only images with equal `key` share a UNet call; `rows` is what it takes of it."""

    key: Hashable
    rows: int


def choose(candidates: Sequence[Candidate], rows_at_once: int) -> list[int]:
    """Positions of the images that step together, given the images in order of admission.

    The one admitted first always steps, so nothing starves; whoever can share its call joins it, in the same order.
    """
    chosen: list[int] = []
    room = rows_at_once
    for position, candidate in enumerate(candidates):
        if candidate.key == candidates[0].key and (candidate.rows <= room or not chosen):
            chosen.append(position)
            room -= candidate.rows
    return chosen
