"""A network's calls as CUDA graphs: a GPU is given a whole call at once, instead of a thousand kernels one by one.

Launching them one by one takes the host longer than the GPU needs to run them. A recording is a capture with static
inputs; playing it is copying inputs there and replaying.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

KEPT = 64
"""Recordings of one network; of more, the one that was longest not played is dropped."""

Call = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class _Recording:
    graph: Any
    inputs: tuple[Tensor, ...]
    output: Tensor

    def play(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value)
        self.graph.replay()
        return self.output.clone()  # the next recording that is played may use the same memory


class Recorded:
    """`call` of tensors; on a GPU it is recorded when shapes come a second time, and played from then on.

    The first time it is made as it stands, which also compiles and chooses kernels. What the call reads beside its
    arguments must stay where it is, and equal shapes must have one dtype. `prepared`: how many calls were not played,
    but made or recorded, which takes longer. Without `records` every call is made as it stands.
    """

    def __init__(self, call: Call, records: bool = True) -> None:
        self._call = call
        self._records = records
        self.prepared = 0
        self._recordings: OrderedDict[tuple[torch.Size, ...], _Recording | None] = OrderedDict()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What `call` makes of them."""
        if not (self._records and inputs[0].is_cuda):
            return self._call(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._recordings:
            self.prepared += 1
            made = self._call(*inputs)
            self._keep(shapes, None)
            return made
        recording = self._recordings[shapes]
        if recording is None:
            self.prepared += 1
            recording = _record(self._call, inputs)
        self._keep(shapes, recording)
        return recording.play(inputs)

    def _keep(self, shapes: tuple[torch.Size, ...], recording: _Recording | None) -> None:
        self._recordings[shapes] = recording
        self._recordings.move_to_end(shapes)
        if len(self._recordings) > KEPT:
            self._recordings.popitem(last=False)


def _record(call: Call, inputs: tuple[Tensor, ...]) -> _Recording:
    places = tuple(tensor.clone() for tensor in inputs)
    graph: Any = torch.cuda.CUDAGraph()
    # Only what this thread does is recorded; another may be bringing weights in meanwhile.
    with torch.cuda.graph(graph, pool=_first().pool(), capture_error_mode="thread_local"):
        output = call(*places)
    return _Recording(graph, places, output)


@cache
def _first() -> Any:
    """A recording of next to nothing, kept for ever: its pool is the memory that all others take turns in.

    Only one is played at a time. (A pool whose recordings have all gone cannot be recorded into again.)
    """
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.zeros(1, device="cuda")
    return graph
