"""How much memory there is, and when it does not suffice: how that is known, and what can be had back."""

import gc
import os
from dataclasses import dataclass
from pathlib import Path

import torch

GPU_SHARE, HOST_SHARE = 0.8, 0.5
"""What weights and requests may take of a GPU, and networks of the host's memory; the rest is for computing, and for
whoever else is there."""

CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says how much a container may have; `max` where it does not limit it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that networks and requests may take of the device's memory, and networks that are set aside of the host's.
    Where the device is the CPU, the first is of the host's memory and the second is not used. `computing`: what is left
    of the device for that; None where the operating system sees to it."""

    device: int
    host: int
    computing: int | None = None


def choose_budget(device: torch.device, gpu: int | None = None, host: int | None = None) -> Budget:
    """What was asked for, in bytes; else most of a GPU, and half of the host's memory."""
    host = host or int(HOST_SHARE * host_memory())
    if device.type != "cuda":
        return Budget(host, host)
    there = torch.cuda.mem_get_info(device)[1]
    gpu = gpu or int(GPU_SHARE * there)
    return Budget(gpu, host, max(there - gpu, 0))


def host_memory(limit: Path = CONTROL_GROUP) -> int:
    """Bytes of memory that this process may hope for: the machine's, or its container's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    stated = limit.read_text("utf-8").strip() if limit.exists() else "max"
    return min(machine, int(stated)) if stated.isdecimal() else machine


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on a GPU or on the host (whose allocator has no exception of its own)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "not enough memory" in str(error)


def free_memory() -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
