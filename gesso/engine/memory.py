"""When memory does not suffice: how that is known, and what can be had back."""

import gc

import torch


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
