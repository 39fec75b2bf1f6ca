"""A zero terminal SNR (Lin et al. 2023, https://arxiv.org/abs/2305.08891), for every scheduler."""

import numpy as np
import pytest
import torch

from gesso.diffusion.names import SERVED
from gesso.diffusion.noise_schedule import LAST_ALPHA, TrailingSinglestep, rescaled_betas, trailing_timesteps
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.diffusion.solver_table import SolverTable, compile_table
from gesso.diffusion.span import WholeRun
from gesso.errors import BadRequest

from .test_solver_table import FROM_PURE_NOISE, PLMS, TWO_EVALUATIONS, VELOCITY

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

each_name = pytest.mark.parametrize("name", SERVED)
COUNTS = [count for count in range(1, 101) if count != 61]
# These place their steps by sigma, not by timestep.
SPACED_BY_SIGMA = [name for name in SERVED if name.endswith(("Karras", "Exponential", "fast", "Restart"))]


def cumulative_alphas(betas: torch.Tensor) -> np.ndarray:
    return torch.cumprod(1 - betas.double(), dim=0).numpy()


def of_sdxl() -> np.ndarray:
    return cumulative_alphas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000).double() ** 2)


def rescaled() -> np.ndarray:
    return cumulative_alphas(torch.tensor(rescaled_betas()))


def test_the_betas_are_rescaled_as_the_paper_does():
    """Algorithm 1: the square roots of the cumulative alphas are shifted and scaled, so that the last would be 0."""
    before, after = np.sqrt(of_sdxl()), np.sqrt(rescaled())
    expected = (before - before[-1]) * before[0] / (before[0] - before[-1])
    np.testing.assert_allclose(after[:-1], expected[:-1], atol=1e-4)
    assert after[0] == pytest.approx(before[0], rel=1e-6)
    assert after[-1] ** 2 == pytest.approx(LAST_ALPHA, rel=1e-4)


@each_name
def test_every_scheduler_starts_from_pure_noise(name):
    alphas = build_scheduler(name, FROM_PURE_NOISE).alphas_cumprod.double().numpy()
    # DDIM and DDPM never divide by it, and so have it as the paper does.
    assert alphas[-1] == pytest.approx(0 if name in ("DDIM", "DDPM") else LAST_ALPHA, rel=1e-5)
    np.testing.assert_allclose(alphas[:-1], rescaled()[:-1], rtol=1e-3)


@pytest.mark.parametrize("steps", [20, 25, 47, 50, 100])
@each_name
def test_every_run_begins_at_the_last_train_timestep(name, steps):
    table = compile_table(name, steps, WholeRun(), FROM_PURE_NOISE)
    # DPMSolverMultistep tells its model whole timesteps, and cuts 998.99 off where its sigmas are exponential.
    assert table.timesteps[0] == pytest.approx(998 if name.endswith("Exponential") else 999, abs=1e-3)
    assert table.start.noise_scale in (1, pytest.approx(4096, rel=1e-6))
    if name not in SPACED_BY_SIGMA:
        begins = table.timesteps[:: 2 if name in TWO_EVALUATIONS else 1]
        begins = np.delete(begins, 1) if name in PLMS else begins
        assert list(begins) == trailing_timesteps(steps)


@pytest.mark.parametrize("name", ["Euler", "DPM Multi", "DDIM", "DPM Single"])
def test_trailing_is_spaced_as_diffusers_does(name):
    for steps in COUNTS:
        scheduler = build_scheduler(name, FROM_PURE_NOISE)
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.tolist() == trailing_timesteps(steps), steps


def test_a_class_that_knows_no_spacing_is_told_its_timesteps():
    scheduler = build_scheduler("DPM Single", FROM_PURE_NOISE)
    assert isinstance(scheduler, TrailingSinglestep)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]


@each_name
def test_steps_that_diffusers_miscounts_are_refused(name):
    with pytest.raises(BadRequest, match=r"61 steps cannot be spaced evenly .* ask for 60 or 62"):
        compile_table(name, 61, WholeRun(), FROM_PURE_NOISE)
    assert compile_table(name, 61, WholeRun(), VELOCITY).steps == 61


@pytest.mark.parametrize("name", ["DDIM", "DPM Single", "LMS", "LMS Karras", "DPM++ 2S a"])
def test_few_steps_are_served_too(name):
    for steps in range(1, 31):
        table = compile_table(name, steps, WholeRun(), FROM_PURE_NOISE)
        assert len(set(table.step_of)) == steps
        assert table.timesteps.min() >= 0


def test_pure_noise_and_epsilon_exclude_each_other():
    with pytest.raises(ValueError, match="needs v_prediction"):
        Diffusion("epsilon", zero_terminal_snr=True)


@each_name
def test_a_bright_picture_is_reached_from_pure_noise(name):
    """What a zero terminal SNR is for: the mean brightness is learnt, and not left over from the noise."""
    mean, spread = ending(compile_table(name, 50, WholeRun(), FROM_PURE_NOISE), rescaled())
    # PLMS averages velocities of different timesteps, which point elsewhere at the beginning.
    assert mean == pytest.approx(1, abs=0.02 if name in PLMS else 0.002)
    assert spread == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("name", ["Euler", "DDIM", "UniPC", "DPM++ 2M Karras"])
def test_without_it_a_bright_picture_is_missed(name):
    mean, _ = ending(compile_table(name, 50, WholeRun(), VELOCITY), of_sdxl())
    assert mean < 0.98


def ending(table: SolverTable, alphas: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what a table makes of pure noise with the exact model of pictures N(1, 0.5**2),
    which predicts v.

    That model is linear, so each latent is one row of weights: of 1, of the start noise, and of each step's noise.
    """
    sigmas = np.sqrt((1 - alphas) / alphas)
    one, start, *noises = np.eye(2 + table.evaluations)
    latents, predictions = [table.start.noise_scale * start], []
    for i, timestep in enumerate(table.timesteps):
        sigma = np.exp(np.interp(timestep, np.arange(len(sigmas)), np.log(sigmas)))
        alpha = 1 / np.sqrt(1 + sigma**2)
        seen = latents[-1] * table.input_scale[i]
        picture = one + 0.25 * alpha / (0.25 * alpha**2 + (sigma * alpha) ** 2) * (seen - alpha * one)
        epsilon = (seen - alpha * picture) / (sigma * alpha)
        predictions.append(alpha * epsilon - sigma * alpha * picture)
        latents.append(table.noise[i] * noises[i])
        for back in range(min(4, i + 1)):
            latents[-1] += table.latents[i, back] * latents[-2 - back]
            latents[-1] += table.predictions[i, back] * predictions[-1 - back]
    return latents[-1][0], float(np.linalg.norm(latents[-1][1:]))
