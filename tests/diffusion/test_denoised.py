"""The clean latent that a model sees: what diffusers' own schedulers say it is, for every scheduler and prediction."""

import pytest
import torch

from gesso.diffusion.denoised import estimate, sigma_at
from gesso.diffusion.names import SERVED
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.diffusion.solver_table import compile_table
from gesso.diffusion.span import WholeRun
from gesso.diffusion.trajectory import begin_at

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

EPSILON, VELOCITY = Diffusion("epsilon"), Diffusion("v_prediction")
PURE_NOISE = Diffusion("v_prediction", zero_terminal_snr=True)
STEPS = 20


def random(seed: int) -> torch.Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("diffusion", [EPSILON, VELOCITY, PURE_NOISE], ids=["epsilon", "v", "pure noise"])
@pytest.mark.parametrize("name", ["DDIM", "DDPM", "Euler", "Euler a"])
def test_it_is_what_a_scheduler_that_tells_it_predicts(name: str, diffusion: Diffusion) -> None:
    scheduler = build_scheduler(name, diffusion)
    scheduler.set_timesteps(STEPS)
    # Of pure noise DDIM and DDPM have a signal of 0, Euler and we of 2**-12.
    accuracy = 1e-3 if diffusion.zero_terminal_snr else 1e-5
    for place, timestep in enumerate(scheduler.timesteps):
        latent, prediction = random(place) * scheduler.init_noise_sigma, random(100 + place)
        seen = scheduler.scale_model_input(latent, timestep)
        told = scheduler.step(prediction, timestep, latent).pred_original_sample
        torch.testing.assert_close(
            estimate(seen, prediction, float(timestep), diffusion), told, rtol=1e-5, atol=accuracy
        )


@pytest.mark.parametrize("name", SERVED)
def test_a_latent_that_a_scheduler_noised_is_clean_again_without_its_noise(name: str) -> None:
    clean, noise = random(0), random(1)
    for place in range(0, STEPS, 6):  # where a step begins, also one of two evaluations
        scheduler = build_scheduler(name, EPSILON)
        scheduler.set_timesteps(STEPS)
        begin_at(scheduler, place)
        timestep = scheduler.timesteps[place]
        noisy = scheduler.add_noise(clean, noise, timestep[None])
        seen = scheduler.scale_model_input(noisy, timestep)
        error = (estimate(seen, noise, float(timestep), EPSILON) - clean).abs().max()
        # Some schedulers round the timestep that belongs to a sigma of their own.
        assert error <= 0.05 * (1 + sigma_at(float(timestep), EPSILON))


@pytest.mark.parametrize("name", SERVED)
def test_what_a_model_sees_has_the_noise_of_its_timestep(name: str) -> None:
    table = compile_table(name, STEPS, WholeRun(), EPSILON)
    for timestep, scale in zip(table.timesteps, table.input_scale, strict=True):
        if scale < 1:
            assert sigma_at(timestep, EPSILON) == pytest.approx((scale**-2 - 1) ** 0.5, rel=0.02, abs=0.02)


def test_noise_grows_with_the_timestep_and_between_timesteps() -> None:
    sigmas = [sigma_at(timestep, EPSILON) for timestep in (0, 0.5, 1, 400, 400.25, 401, 999)]
    assert sigmas == sorted(set(sigmas))
    assert sigmas[0] == pytest.approx(0.0292, abs=1e-4)
    assert sigmas[-1] == pytest.approx(14.6146, abs=1e-4)


def test_pure_noise_says_nothing_and_the_prediction_everything() -> None:
    noise, prediction = random(0), random(1)
    torch.testing.assert_close(estimate(noise, prediction, 999, PURE_NOISE), -prediction, rtol=0, atol=2e-3)
