"""The samplers that diffusers has no class for, held against the loops that are published of them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.diffusion.noise import NoiseSource
from gesso.diffusion.sampler_run import noise_levels, record_sampler
from gesso.diffusion.samplers import SAMPLERS, Sampler, fast_orders, karras, restart_path
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.diffusion.solver_table import Start, compile_sampler, compile_table
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength, WholeRun

from .lone_run import SHAPE, lone_scheduler, table_run, toy_model, worst_error
from .published_loops import EULERS, published_run

PARITY = 1e-5
STEPS = [20, 25, 50, 100]
STRENGTHS = [0.1, 0.3, 0.5, 0.8, 1.0]
CUTS = [0.1, 0.3, 0.5, 0.8, 0.95]
SPANS: list[Span] = [
    WholeRun(),
    *(Strength(strength) for strength in STRENGTHS),
    *(part(cut) for cut in CUTS for part in (DenoisingEnd, DenoisingStart)),
]
EPSILON, VELOCITY = Diffusion("epsilon"), Diffusion("v_prediction")

each_sampler = pytest.mark.parametrize("name", SAMPLERS)
each_prediction = pytest.mark.parametrize("diffusion", [EPSILON, VELOCITY], ids=["epsilon", "velocity"])
step_counts = st.integers(1, 150)


def levels(name: str, steps: int, diffusion: Diffusion = EPSILON):
    euler = build_scheduler(name, diffusion)
    euler.set_timesteps(steps)
    return noise_levels(euler, 0)


def published(name: str, steps: int, span: Span, diffusion: Diffusion, start: torch.Tensor, source: NoiseSource):
    return published_run(name, lone_scheduler(EULERS[name], steps, diffusion), toy_model, span, start, source)


@pytest.mark.parametrize("steps", STEPS)
@each_prediction
@each_sampler
def test_a_table_makes_the_latents_of_the_published_loop_after_every_evaluation(name, diffusion, steps):
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    for span in SPANS:
        ours, theirs = NoiseSource(11), NoiseSource(11)
        found = table_run(compile_table(name, steps, span, diffusion), toy_model, start, ours)
        expected = published(name, steps, span, diffusion, start, theirs)
        assert worst_error(found, expected) <= PARITY, span
        assert torch.equal(ours.generator.get_state(), theirs.generator.get_state()), span


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("steps", STEPS)
@each_sampler
def test_base_and_refiner_one_after_the_other_are_the_whole_run(name, steps, cut):
    start, whole, parts = torch.zeros(SHAPE), NoiseSource(11), NoiseSource(11)
    expected = table_run(compile_table(name, steps, WholeRun(), EPSILON), toy_model, start, whole)
    between = table_run(compile_table(name, steps, DenoisingEnd(cut), EPSILON), toy_model, start, parts)
    ending = table_run(compile_table(name, steps, DenoisingStart(cut), EPSILON), toy_model, between[-1], parts)
    assert torch.equal(ending[-1], expected[-1])
    assert len(between) + len(ending) == len(expected) + 1


@settings(deadline=None, max_examples=40)
@given(steps=step_counts)
def test_the_calls_of_the_model_are_as_many_as_the_field_counts(steps):
    for name in ("DPM++ 2S a", "DPM++ 2S a Karras", "Restart"):
        table = compile_table(name, steps, WholeRun(), EPSILON)
        assert table.evaluations == 2 * steps - 1
        assert list(table.step_of) == [i // 2 + 1 for i in range(2 * steps - 1)]
    table = compile_table("DPM fast", steps, WholeRun(), EPSILON)
    assert table.evaluations == steps
    assert list(table.step_of) == list(range(1, steps + 1))


@settings(deadline=None, max_examples=40)
@given(steps=step_counts, strength=st.floats(0.01, 1), name=st.sampled_from(list(SAMPLERS)))
def test_a_strength_takes_the_last_steps_as_diffusers_counts_them(steps, strength, name):
    taken = int(steps * strength)
    if taken:
        table = compile_table(name, steps, Strength(strength), EPSILON)
        euler = lone_scheduler(EULERS[name], steps, EPSILON)
        assert sorted(set(table.step_of)) == list(range(steps - taken + 1, steps + 1))
        assert table.start == Start(1.0, float(euler.sigmas[steps - taken]))
        assert table.timesteps[0] == pytest.approx(float(euler.timesteps[steps - taken]), abs=1e-4)


@settings(deadline=None, max_examples=40)
@given(steps=step_counts, cut=st.floats(0.001, 0.999))
def test_dpm_fast_is_never_cut_within_a_step_of_its_solver(steps, cut):
    ends = np.cumsum([0, *fast_orders(steps)])
    assert compile_table("DPM fast", steps, DenoisingEnd(cut), EPSILON).evaluations in ends


@given(steps=step_counts)
def test_dpm_fast_shares_its_evaluations_out_in_threes(steps):
    orders = fast_orders(steps)
    assert sum(orders) == steps
    assert len(orders) == steps // 3 + 1
    assert set(orders[:-2]) <= {3}


@given(steps=step_counts)
def test_restart_takes_the_steps_it_is_given_and_ends_where_it_should(steps):
    sigmas = levels("Restart", steps).sigmas
    path = restart_path(sigmas)
    assert len(path) == steps
    assert (path[0][0], path[-1][1]) == (sigmas[0], 0)
    assert all(sigma > sigma_next for sigma, sigma_next in path)


@pytest.mark.parametrize(("steps", "times"), [(19, 0), (20, 1), (35, 1), (36, 2), (100, 2)])
def test_restart_goes_back_up_as_often_as_its_steps_allow(steps, times):
    path = restart_path(levels("Restart", steps).sigmas)
    ups = [(one[1], other[0]) for one, other in pairwise(path) if other[0] != one[1]]
    assert len(ups) == times
    assert len(set(ups)) <= 1
    for low, high in ups:
        assert low == pytest.approx(0.1, abs=0.08)
        assert high == pytest.approx(2.0, abs=0.8)


def test_restart_over_small_sigmas_alone_never_goes_up():
    path = restart_path(np.append(np.geomspace(0.09, 0.03, 25), 0))
    assert all(one[1] == other[0] for one, other in pairwise(path))


def test_karras_sigmas_keep_their_ends_exactly():
    sigmas = karras(12, 11.0, 0.03)
    assert (sigmas[0], sigmas[-1], len(sigmas)) == (11.0, 0.03, 12)
    assert np.allclose(np.diff(np.diff(sigmas ** (1 / 7))), 0)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@each_prediction
@each_sampler
def test_a_few_steps_are_as_close(name, diffusion, steps):
    start, ours, theirs = torch.zeros(SHAPE), NoiseSource(11), NoiseSource(11)
    found = table_run(compile_table(name, steps, WholeRun(), diffusion), toy_model, start, ours)
    assert worst_error(found, published(name, steps, WholeRun(), diffusion, start, theirs)) <= PARITY


@each_sampler
def test_a_perfect_model_of_one_picture_leads_to_it(name):
    """Its denoised latent is the same everywhere, so what is left of the noise is the last sigma's share."""
    picture = np.full((2, 64), 0.7)
    sampling = levels(name, 25).sigmas
    noise = np.random.default_rng(5).standard_normal
    x = sampling[0] * noise(picture.shape)
    *_, result = SAMPLERS[name].loop(lambda x, sigma: picture, lambda: noise(picture.shape), x, sampling)
    left = sampling[-2] if name == "DPM fast" else 0
    assert np.abs(result - picture).max() <= 5 * left + 1e-9


def test_dpm_fast_goes_on_where_its_sigmas_would_end_in_visible_noise():
    """As with "trailing" spacing, from a sigma where there is nothing but noise."""
    sampling = np.append(np.geomspace(4096, 0.2, 25), 0)
    seen = []

    def model(x, sigma):
        seen.append(sigma)
        return np.full(x.shape, 0.7)

    *_, result = SAMPLERS["DPM fast"].loop(
        model, lambda: np.zeros(2), 0.7 + sampling[0] * np.array([1.0, -1.0]), sampling
    )
    assert len(seen) == 25
    np.testing.assert_allclose(result, [0.75, 0.65])


@each_sampler
def test_the_model_is_told_diffusers_own_timesteps_where_a_step_begins(name):
    euler = lone_scheduler(EULERS[name], 10, EPSILON)
    run = record_sampler(SAMPLERS[name], levels(name, 10))
    begun = run.recording.timesteps[run.opens]
    assert begun[0] == float(euler.timesteps[0])
    if name != "DPM fast":
        np.testing.assert_allclose(begun, euler.timesteps.numpy(), atol=1e-4)


def test_a_sampler_that_is_not_linear_is_refused():
    def clips(model, noise, x, sigmas):
        for sigma in sigmas[:-1]:
            x = np.clip(model(x, sigma), -1, 1)
            yield x

    with pytest.raises(ValueError, match=r"no sum over a window|not linear"):
        compile_sampler(Sampler(clips), build_scheduler("Euler", EPSILON), 20, WholeRun())


@pytest.mark.parametrize("draws", [(0, 1), (2, 0)])
def test_a_sampler_that_draws_otherwise_than_once_after_an_evaluation_is_refused(draws):
    after, before = draws

    def noisy(model, noise, x, sigmas):
        x = x + sum(noise() for _ in range(before))
        x = model(x, sigmas[0]) + sum(noise() for _ in range(after))
        yield x

    with pytest.raises(ValueError, match="more than one noise after an evaluation, or one before the first"):
        compile_sampler(Sampler(noisy), build_scheduler("Euler", EPSILON), 20, WholeRun())
