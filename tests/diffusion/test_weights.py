"""A scheduler becomes a table if it is linear, which its weights' replay shows and their fit does not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gesso.diffusion import trajectory
from gesso.diffusion.schedulers import configure
from gesso.diffusion.solver_table import compile_scheduler
from gesso.diffusion.span import Strength, WholeRun
from gesso.diffusion.trajectory import Recording, Trajectory, record
from gesso.diffusion.weights import EXACT, FAITHFUL, require_faithful, solve

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

Build = Callable[[], Any]

CLIPPING: dict[str, Build] = {
    "DDIM": lambda: configure("DDIMScheduler", clip_sample=True),
    "DDPM": lambda: configure("DDPMScheduler", clip_sample=True),
    "Heun": lambda: configure("HeunDiscreteScheduler", clip_sample=True),
    "DDIM, of velocities": lambda: configure("DDIMScheduler", clip_sample=True, prediction_type="v_prediction"),
}
THRESHOLDING: dict[str, Build] = {
    "DDIM, dynamic": lambda: configure("DDIMScheduler", clip_sample=False, thresholding=True),
    "DDPM, dynamic": lambda: configure("DDPMScheduler", clip_sample=False, thresholding=True),
    "DPM multistep, dynamic": lambda: configure("DPMSolverMultistepScheduler", thresholding=True),
    "DPM singlestep, dynamic": lambda: configure("DPMSolverSinglestepScheduler", thresholding=True),
    "DEIS, dynamic": lambda: configure("DEISMultistepScheduler", thresholding=True),
    "UniPC, dynamic": lambda: configure("UniPCMultistepScheduler", thresholding=True),
}
NOT_LINEAR = CLIPPING | THRESHOLDING
# DDPM's own noise is large enough to be clipped wherever its latents are.
QUIET = [name for name in NOT_LINEAR if not name.startswith("DDPM")]


def recorded(scheduler: Any) -> Recording:
    scheduler.set_timesteps(20)
    return record(scheduler, range(len(scheduler.timesteps)))


def deviation(made: np.ndarray, trajectory: Trajectory) -> float:
    return float((np.abs(made - trajectory.latents).max(axis=1) / np.abs(trajectory.latents).max(axis=1)).max())


@pytest.mark.parametrize("span", [WholeRun(), Strength(0.65)], ids=["whole", "part"])
@pytest.mark.parametrize("build", NOT_LINEAR.values(), ids=NOT_LINEAR)
def test_a_scheduler_that_clips_or_thresholds_is_refused(build: Build, span: WholeRun | Strength) -> None:
    with pytest.raises(ValueError, match=r"no sum over a window|not linear"):
        compile_scheduler(build(), 20, span)


@pytest.mark.parametrize("name", QUIET)
def test_the_fit_alone_would_let_it_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the latents are small nothing is clipped, and the fit is perfect: only the replay of a large run shows."""
    monkeypatch.setattr(trajectory, "AMPLITUDES", (0.001, 8.0))
    recording = recorded(NOT_LINEAR[name]())
    weights = solve(recording.small)
    assert deviation(weights.replay(recording.small), recording.small) <= EXACT
    assert deviation(weights.replay(recording.large), recording.large) > 1
    with pytest.raises(ValueError, match="not linear: its weights, replayed, are off by"):
        require_faithful(weights, recording.large)


def test_clipping_of_large_latents_alone_is_found_at_the_amplitudes_that_are_used() -> None:
    scheduler = configure("DDIMScheduler", clip_sample=True, clip_sample_range=100)
    with pytest.raises(ValueError, match="not linear"):
        compile_scheduler(scheduler, 20, WholeRun())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "UniPCMultistepScheduler", "KDPM2AncestralDiscreteScheduler"])
def test_the_weights_of_one_run_make_any_other(scheduler: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"clip_sample": False} if scheduler == "DDIMScheduler" else {}
    weights = solve(recorded(configure(scheduler, **options)).small)
    monkeypatch.setattr(trajectory, "SEED", 100 + seed)
    monkeypatch.setattr(trajectory, "AMPLITUDES", (30.0, 1e-3))
    other = recorded(configure(scheduler, **options))
    for run in (other.small, other.large):
        assert deviation(weights.replay(run), run) <= FAITHFUL
