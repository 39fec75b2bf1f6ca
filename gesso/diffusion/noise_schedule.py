"""SDXL's noise schedule in diffusers' words, as it was and rescaled to a zero terminal SNR. Knows no scheduler's name.

Both have 1000 train steps and betas from 0.00085 to 0.012, scaled linearly. SDXL itself never saw pure noise, and runs
are spaced "leading" with offset 1. A checkpoint with zero terminal SNR did (Lin et al. 2023,
https://arxiv.org/abs/2305.08891): its betas are rescaled, and runs are spaced "trailing", so that they begin there.
"""

from functools import cache
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_euler_discrete import rescale_zero_terminal_snr
from numpy.typing import NDArray

from gesso.diffusion.span import TRAIN_TIMESTEPS
from gesso.errors import BadRequest

BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": TRAIN_TIMESTEPS,
}
LEADING: dict[str, Any] = {"timestep_spacing": "leading", "steps_offset": 1}
TRAILING: dict[str, Any] = {"timestep_spacing": "trailing", "steps_offset": 0}
RESCALED: dict[str, Any] = {"rescale_betas_zero_snr": True}
# What diffusers takes for the last cumulative alpha instead of 0, where sigma would be infinite: sigma is then 4096.
LAST_ALPHA = 2**-24


class TrailingSinglestep(diffusers.DPMSolverSinglestepScheduler):  # type: ignore[misc]  # diffusers has no types
    """DPMSolverSinglestep knows no spacing but its own, and is told its timesteps instead."""

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """As in the other schedulers."""
        super().set_timesteps(timesteps=trailing_timesteps(num_inference_steps), device=device)


@cache
def rescaled_betas() -> tuple[float, ...]:
    """[TRAIN_TIMESTEPS] for a scheduler that cannot rescale its betas: the last cumulative alpha is LAST_ALPHA."""
    betas = torch.linspace(BETAS["beta_start"] ** 0.5, BETAS["beta_end"] ** 0.5, TRAIN_TIMESTEPS) ** 2
    rescaled = rescale_zero_terminal_snr(betas)
    before_last = torch.cumprod(1 - rescaled, dim=0)[-2]
    rescaled[-1] = 1 - LAST_ALPHA / before_last
    return tuple(rescaled.tolist())


def trailing_timesteps(steps: int) -> list[int]:
    """[steps], evenly spaced down from the last train timestep."""
    timesteps: list[int] = (_trailing(steps)[:steps].round() - 1).astype(int).tolist()
    return timesteps


def require_trailing(steps: int) -> None:
    """Raises BadRequest where diffusers' own trailing spacing has a step too many, by a rounding error (61 steps)."""
    if len(_trailing(steps)) != steps:
        raise BadRequest(
            f"{steps} steps cannot be spaced evenly with a checkpoint of zero terminal SNR; "
            f"ask for {steps - 1} or {steps + 1}"
        )


def _trailing(steps: int) -> NDArray[np.float64]:
    """As diffusers counts down, to its last bit."""
    return np.arange(TRAIN_TIMESTEPS, 0, -TRAIN_TIMESTEPS / steps)
