"""The UNet: predicts the noise (or velocity) in rows that each have a timestep, a prompt and a size of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gesso.sdxl.architecture import Kind, PredictionType
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.recordings import Recorded
from gesso.sdxl.text import Conditioning

AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5


@dataclass(frozen=True, slots=True)
class Told:
    """What one row is told at one evaluation, beside its latent.

    `shifts` [channels of all residual blocks]: time, size and the pooled prompt; `context` [77 · chunks, width].
    """

    shifts: Tensor
    context: Tensor


@dataclass(frozen=True, slots=True)
class Unet:
    """A base or refiner UNet, and how it was trained.

    `call`: the network's, recorded.
    `form`: UNets of equal form have the same layers, of the same widths.
    `zero_terminal_snr`: its last train timestep was pure noise. `zeros_for_empty`: an empty negative prompt is
    embeddings of zeros, not of "".
    """

    network: UnetNetwork
    call: Recorded
    form: str
    kind: Kind
    prediction_type: PredictionType
    zero_terminal_snr: bool
    zeros_for_empty: bool

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, but for products in 8 bits."""
        return self.network.conv_in.weight.dtype

    def size_ids(self, width: int, height: int, negative: bool) -> tuple[float, ...]:
        """SDXL's micro-conditioning, sizes in pixels: original size, crop at 0, 0, and the target size (base) or an
        aesthetic score (refiner), as in diffusers' pipelines."""
        if self.kind == "refiner":
            return height, width, 0, 0, NEGATIVE_AESTHETIC_SCORE if negative else AESTHETIC_SCORE
        return height, width, 0, 0, height, width

    def tell(
        self, timesteps: Tensor, conditionings: Sequence[Conditioning], size_ids: tuple[float, ...]
    ) -> tuple[Told, ...]:
        """What a run's rows are told at each of its evaluations; `timesteps` [evaluations] float32.

        Made for a whole run at once, so that its numbers do not depend on what else is painted.
        """
        pooled = torch.stack([conditioning.pooled for conditioning in conditionings]).to(self.dtype)
        sizes = torch.tensor(size_ids, dtype=torch.float32, device=pooled.device).expand(len(conditionings), -1)
        shifts = self.network.shifts(timesteps, pooled, sizes)
        return tuple(
            Told(shift, conditioning.context.to(self.dtype))
            for shift, conditioning in zip(shifts, conditionings, strict=True)
        )

    def predict(self, rows: Tensor, told: Sequence[Told]) -> Tensor:
        """The raw prediction for `rows`, [rows, channels, h, w] float32 in and out; all have equally many chunks."""
        shifts = torch.stack([one.shifts for one in told])
        context = torch.stack([one.context for one in told])
        return self.call(rows.to(self.dtype), shifts, context).float()
