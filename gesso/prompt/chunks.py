"""Chunks: the runs of up to 75 tokens that a CLIP text encoder sees at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most 75 token ids and as many weights, without beginning, end and padding: those belong to each encoder."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]
