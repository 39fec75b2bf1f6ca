"""What networks compute in."""

from dataclasses import dataclass
from typing import Self

import torch


@dataclass(frozen=True, slots=True)
class Precision:
    """Everything is computed in `dtype`; but the Linears of a UNet's transformers multiply in 8 bits if `eight_bit`."""

    dtype: torch.dtype
    eight_bit: bool = False

    @classmethod
    def of(cls, given: "torch.dtype | Self") -> Self:
        """Of a dtype, that one throughout."""
        return cls(given) if isinstance(given, torch.dtype) else given


FP8 = Precision(torch.bfloat16, eight_bit=True)
