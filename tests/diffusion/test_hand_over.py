"""Base and refiner share one run: what one leaves off the other takes up, at a step's end."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch

from gesso.diffusion.names import SERVED
from gesso.diffusion.noise import NoiseSource
from gesso.diffusion.samplers import SAMPLERS
from gesso.diffusion.solver_table import SolverTable, compile_table
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, WholeRun

from .lone_run import SHAPE, DoubleNoiseSource, table_run, toy_model, worst_error
from .test_solver_table import (
    EPSILON,
    FROM_PURE_NOISE,
    PARITY,
    PLMS,
    ROUGH_FROM_PURE_NOISE,
    TWO_EVALUATIONS,
    oracle,
)

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

CUTS = [0.1, 0.3, 0.5, 0.8, 0.95]
STEPS = [20, 25, 50, 100]
# Their next latent hangs on the step alone that it ends, so a run cut in two is the run.
WITHOUT_HISTORY = [name for name in SERVED if name.startswith(("DD", "Euler", "Heun", "DPM2", "DPM++ SDE"))]
WITHOUT_HISTORY += list(SAMPLERS)

each_name = pytest.mark.parametrize("name", SERVED)
each_count = pytest.mark.parametrize("steps", STEPS)


class Tables(NamedTuple):
    whole: SolverTable
    base: SolverTable
    refiner: SolverTable

    def joined(self, part: str) -> np.ndarray:
        return np.concatenate([getattr(self.base, part), getattr(self.refiner, part)])


@cache
def tables(name: str, steps: int, cut: float) -> Tables:
    return Tables(*(compile_table(name, steps, span, EPSILON) for span in (WholeRun(), *parts(cut))))


def parts(cut: float) -> tuple[Span, Span]:
    return DenoisingEnd(cut), DenoisingStart(cut)


@each_count
@each_name
def test_base_and_refiner_take_every_evaluation_once_and_share_no_step(name, steps):
    for cut in CUTS:
        run = tables(name, steps, cut)
        assert run.base.evaluations + run.refiner.evaluations == run.whole.evaluations
        for part in ("timesteps", "input_scale", "step_of", "draws"):
            assert np.array_equal(run.joined(part), getattr(run.whole, part)), part
        if name not in PLMS:  # which diffusers cuts between the first step's two evaluations, if at all
            assert set(run.base.step_of).isdisjoint(run.refiner.step_of), cut


@each_count
@pytest.mark.parametrize("name", [name for name in SERVED if name not in SAMPLERS])
def test_the_base_takes_the_steps_that_begin_at_or_above_the_cut(name, steps):
    """As diffusers' pipelines decide, but for what they would cut within a step of two evaluations."""
    calls = 2 if name in TWO_EVALUATIONS else 1
    for cut in CUTS:
        run = tables(name, steps, cut)
        assert (run.base.timesteps[::calls] >= round(1000 - 1000 * cut)).all()
        assert (run.refiner.timesteps[::calls] < round(1000 - 1000 * cut)).all()


@each_count
@pytest.mark.parametrize("name", WITHOUT_HISTORY)
def test_without_history_the_two_parts_of_a_run_are_the_run(name, steps):
    for cut in CUTS:
        run = tables(name, steps, cut)
        for weights in ("latents", "predictions", "noise"):
            np.testing.assert_allclose(run.joined(weights), getattr(run.whole, weights), atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(SERVED) - set(WITHOUT_HISTORY)))
def test_a_solver_with_history_begins_anew_with_the_refiner(name):
    run = tables(name, 20, 0.5)
    first = run.base.evaluations
    assert not run.refiner.latents[0, 1:].any()
    assert not run.refiner.predictions[0, 1:].any()
    assert np.abs(run.refiner.predictions[0] - run.whole.predictions[first]).max() > 1e-3


@pytest.mark.parametrize("diffusion", [EPSILON, FROM_PURE_NOISE], ids=["epsilon", "v from pure noise"])
@each_name
def test_the_two_parts_one_after_the_other_are_diffusers_own_two_loops(name, diffusion):
    """One generator for both, as the pipelines are given; a scheduler of its own for each."""
    double = diffusion == FROM_PURE_NOISE and name in ROUGH_FROM_PURE_NOISE
    for cut in CUTS:
        found, expected = torch.zeros(SHAPE), torch.zeros(SHAPE, dtype=torch.float64 if double else torch.float32)
        ours, theirs = (DoubleNoiseSource(11) if double else NoiseSource(11) for _ in range(2))
        for span in parts(cut):
            made = table_run(compile_table(name, 20, span, diffusion), toy_model, found, ours)
            true = oracle(name, 20, span, diffusion, expected, theirs)
            assert worst_error(made, true) <= PARITY, span
            found, expected = made[-1], true[-1]
        assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())
