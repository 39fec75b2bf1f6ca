"""The UNet: predicts the noise (or velocity) in rows that each have a timestep, a prompt and a size of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesso.sdxl.architecture import Kind, PredictionType
from gesso.sdxl.text import Conditioning

AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5


@dataclass(frozen=True, slots=True)
class Unet:
    """A base or refiner UNet, and how it was trained.

    `zero_terminal_snr`: its last train timestep was pure noise. `zeros_for_empty`: an empty negative prompt is
    embeddings of zeros, not of "".
    """

    network: nn.Module
    kind: Kind
    prediction_type: PredictionType
    zero_terminal_snr: bool
    zeros_for_empty: bool

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.network.parameters()).dtype

    def size_ids(self, width: int, height: int, negative: bool) -> tuple[float, ...]:
        """SDXL's micro-conditioning, sizes in pixels: original size, crop at 0, 0, and the target size (base) or an
        aesthetic score (refiner), as in diffusers' pipelines."""
        if self.kind == "refiner":
            return height, width, 0, 0, NEGATIVE_AESTHETIC_SCORE if negative else AESTHETIC_SCORE
        return height, width, 0, 0, height, width

    def predict(
        self, rows: Tensor, timesteps: Tensor, conditionings: Sequence[Conditioning], size_ids: Tensor
    ) -> Tensor:
        """The raw prediction for `rows`: [rows, channels, h, w] float32 in and out.

        `timesteps` [rows] float32; `size_ids` [rows, 6 or 5] float32; the conditionings have equally many chunks.
        """
        context = torch.stack([conditioning.context for conditioning in conditionings])
        pooled = torch.stack([conditioning.pooled for conditioning in conditionings])
        prediction: Tensor = self.network(
            rows.to(self.dtype),
            timesteps,
            encoder_hidden_states=context.to(self.dtype),
            added_cond_kwargs={"text_embeds": pooled.to(self.dtype), "time_ids": size_ids},
            return_dict=False,
        )[0]
        return prediction.float()
