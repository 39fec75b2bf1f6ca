"""What every part of the suite is measured on, and how long a call takes."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.engine.models import choose_device
from gesso.sdxl.network import UnetNetwork

DEVICE = choose_device("auto")
SIZES = ((1024, 1024), (896, 1152), (512, 512))
FACTOR, CONTEXT, POOLED = 8, 2048, 1280
ROWS, FEW = (2, 4, 8, 16), 2
AHEAD, REPEATS = 3, 7
ROW_TFLOP, DECODE_TFLOP, ENCODERS_TFLOP = 6.76, 10.5, 0.11
"""Of SDXL at 1024x1024: a row of a UNet call, a picture's decoding, both text encoders."""

Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Bench:
    """A checkpoint on a device. Where it is `small`, so are pictures."""

    path: str
    device: torch.device
    small: bool

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Widths and heights in pixels."""
        return tuple((width // 8, height // 8) for width, height in SIZES[::2]) if self.small else SIZES

    @property
    def rows(self) -> tuple[int, ...]:
        """Of UNet calls."""
        return ROWS[:2] if self.small else ROWS

    def few(self, many: int) -> int:
        """So many, or as few as will do where all is small."""
        return min(many, FEW) if self.small else many

    def milliseconds(self, call: Callable[[], object]) -> float:
        """The median of several, after three that are not counted; of one after one where all is small."""
        ahead, counted = (1, 1) if self.small else (AHEAD, REPEATS)
        seconds = []
        for _ in range(ahead + counted):
            self.wait()
            began = time.perf_counter()
            call()
            self.wait()
            seconds.append(time.perf_counter() - began)
        return 1000 * statistics.median(seconds[ahead:])

    def wait(self) -> None:
        """Until the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def told(self, network: UnetNetwork, rows: int, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random latents, shifts and contexts of a call."""
        generator = torch.Generator(self.device).manual_seed(rows)
        timesteps = torch.full((rows,), 500.0, device=self.device)

        def drawn(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=self.device).to(torch.bfloat16)

        sizes = torch.full((rows, 6), float(height), device=self.device)
        shifts = network.shifts(timesteps, drawn(rows, POOLED), sizes)
        return drawn(rows, 4, height // FACTOR, width // FACTOR), shifts, drawn(rows, 77, CONTEXT)
