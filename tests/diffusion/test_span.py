import sys
from subprocess import run

import pytest

from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Strength
from gesso.errors import BadRequest


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan")])
@pytest.mark.parametrize("part", [DenoisingEnd, DenoisingStart])
def test_a_fraction_lies_strictly_between_none_and_all(part, fraction):
    with pytest.raises(BadRequest, match=f"{fraction} is not strictly between 0 and 1"):
        part(fraction)


@pytest.mark.parametrize("strength", [0, -0.1, 1.01, float("nan")])
def test_a_strength_is_above_none_and_at_most_all(strength):
    with pytest.raises(BadRequest, match=f"{strength} is not above 0 and at most 1"):
        Strength(strength)


@pytest.mark.parametrize(
    ("strength", "steps", "taken"), [(1.0, 20, 20), (0.65, 30, 19), (0.29, 100, 28), (0.1, 20, 2), (0.05, 20, 1)]
)
def test_a_strength_takes_its_share_of_the_steps_rounded_down_as_diffusers_does(strength, steps, taken):
    assert Strength(strength).taken(steps) == taken
    assert Strength(strength).skipped(steps) == steps - taken


def test_a_strength_that_leaves_no_step_is_refused_by_its_parameter():
    with pytest.raises(BadRequest, match=r"0\.04 of 20 steps is less than one") as refused:
        Strength(0.04).taken(20)
    (problem,) = refused.value.problems
    assert (problem.parameter, problem.value) == ("strength", 0.04)


def test_a_strength_is_judged_without_loading_numpy_or_torch():
    code = "import sys, gesso.diffusion.span; sys.exit(bool({'numpy', 'torch'} & sys.modules.keys()))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
