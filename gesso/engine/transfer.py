"""Numbers from the host to a device and back, without the host waiting for the device."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host, on the device: through pinned memory, which a GPU fetches from when it gets there."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def fetched(tensor: Tensor) -> Callable[[], Tensor]:
    """The tensor on the host, when asked for: by then the device may well have got there."""
    if tensor.device.type != "cuda":
        return lambda: tensor
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    there: Any = cast(Any, torch.cuda.Event)()
    there.record()

    def wait() -> Tensor:
        there.synchronize()
        return copy

    return wait


def indices(numbers: Sequence[int], device: torch.device) -> Tensor:
    """[numbers] int64, to index with."""
    return moved(torch.tensor(numbers, dtype=torch.int64), device)


def column(numbers: Sequence[float], device: torch.device) -> Tensor:
    """[numbers, 1, 1, 1] float32, to multiply latents by."""
    return moved(torch.tensor(numbers, dtype=torch.float32), device).view(-1, 1, 1, 1)
