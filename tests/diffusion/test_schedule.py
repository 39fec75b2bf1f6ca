import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.diffusion.schedule import Schedule
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Strength, WholeRun
from gesso.errors import BadRequest


def leading(steps: int) -> np.ndarray:
    return np.arange(steps)[::-1] * (1000 // steps) + 1.0


def one_evaluation(steps: int) -> Schedule:
    return Schedule.of_order(leading(steps), steps, order=1)


def two_evaluations(steps: int) -> Schedule:
    return Schedule.of_order(np.repeat(leading(steps), 2)[1:], steps, order=2)


def three_evaluations(steps: int) -> Schedule:
    """As DPM fast: each evaluation counts as a step, and the solver takes up to three in one of its own."""
    evaluation = np.arange(steps)
    return Schedule(leading(steps), steps, evaluation + 1, evaluation % 3 == 0)


def there_and_back(steps: int) -> Schedule:
    """As Restart: the same timesteps once more."""
    half = leading(steps)[: (steps + 1) // 2]
    timesteps = np.concatenate([half, half])[:steps]
    return Schedule(timesteps, steps, np.arange(steps) + 1, np.full(steps, True))


schedules = st.builds(
    lambda make, steps: make(steps),
    st.sampled_from([one_evaluation, two_evaluations, three_evaluations, there_and_back]),
    st.integers(1, 100),
)
diffusers_schedules = st.builds(
    lambda make, steps: make(steps), st.sampled_from([one_evaluation, two_evaluations]), st.integers(1, 100)
)
fractions = st.floats(0, 1, exclude_min=True, exclude_max=True)


def test_the_whole_run_is_every_evaluation():
    assert one_evaluation(20).evaluations(WholeRun()) == range(20)
    assert two_evaluations(20).evaluations(WholeRun()) == range(39)


def test_strength_takes_the_last_steps_whole():
    assert one_evaluation(20).evaluations(Strength(0.65)) == range(7, 20)
    assert two_evaluations(20).evaluations(Strength(0.65)) == range(14, 39)
    assert one_evaluation(20).evaluations(Strength(1.0)) == range(20)


def test_strength_is_rounded_down_as_diffusers_does():
    assert one_evaluation(100).evaluations(Strength(0.29)) == range(100 - 28, 100)


def test_the_base_takes_the_steps_at_or_above_the_cuts_timestep():
    assert one_evaluation(20).evaluations(DenoisingEnd(0.8)) == range(16)
    assert one_evaluation(20).evaluations(DenoisingStart(0.8)) == range(16, 20)
    assert one_evaluation(20).evaluations(DenoisingEnd(0.049)) == range(1)  # 951 >= 951
    assert one_evaluation(20).evaluations(DenoisingEnd(0.048)) == range(0)


def test_plms_takes_two_evaluations_for_its_first_step():
    timesteps = np.insert(leading(20), 1, leading(20)[1])
    assert list(Schedule.of_order(timesteps, 20, order=1).step_of[:4]) == [1, 1, 2, 3]


def test_a_solvers_step_of_three_evaluations_is_never_cut():
    assert three_evaluations(20).evaluations(DenoisingEnd(0.8)) == range(18)  # 101 < 200 <= 251, begun at 251
    assert three_evaluations(20).evaluations(DenoisingStart(0.8)) == range(18, 20)


def test_a_run_that_goes_back_up_is_cut_where_it_first_begins_a_step_below():
    assert there_and_back(20).evaluations(DenoisingEnd(0.3)) == range(6)
    assert there_and_back(20).evaluations(DenoisingStart(0.3)) == range(6, 20)


@given(schedules, fractions)
def test_base_and_refiner_share_every_evaluation_out_and_split_no_step(schedule, fraction):
    base, refiner = schedule.evaluations(DenoisingEnd(fraction)), schedule.evaluations(DenoisingStart(fraction))
    assert [*base, *refiner] == list(range(len(schedule.timesteps)))
    assert set(schedule.step_of[list(base)]).isdisjoint(schedule.step_of[list(refiner)])
    assert schedule.opens[list(refiner)[:1]].all()


@given(diffusers_schedules, st.floats(0.01, 1))
def test_strength_begins_at_a_steps_beginning_or_is_refused(schedule, strength):
    if int(schedule.steps * strength) == 0:
        with pytest.raises(BadRequest):
            schedule.evaluations(Strength(strength))
    else:
        evaluations = schedule.evaluations(Strength(strength))
        assert len(set(schedule.step_of[list(evaluations)])) == int(schedule.steps * strength)
        assert schedule.opens[evaluations.start]
