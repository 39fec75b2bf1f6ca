from concurrent.futures import ThreadPoolExecutor

import diffusers
import numpy as np
import pytest
import torch

from gesso.diffusion.names import SERVED
from gesso.diffusion.noise import NoiseSource
from gesso.diffusion.schedulers import Diffusion, build_scheduler
from gesso.diffusion.solver_table import SolverTable, Start, compile_scheduler, compile_table
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength, WholeRun
from gesso.errors import BadRequest

from .lone_run import SHAPE, DoubleNoiseSource, lone_run, lone_scheduler, table_run, toy_model, worst_error
from .published_loops import EULERS, published_run

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PARITY = 1e-4
CUTS = [0.5, 0.8]
SPANS: list[Span] = [
    WholeRun(),
    *(Strength(strength) for strength in (0.3, 0.65, 1.0)),
    *(part(cut) for cut in CUTS for part in (DenoisingEnd, DenoisingStart)),
]
EPSILON, VELOCITY = Diffusion("epsilon"), Diffusion("v_prediction")
FROM_PURE_NOISE = Diffusion("v_prediction", zero_terminal_snr=True)
DIFFUSIONS = {"epsilon": EPSILON, "v": VELOCITY, "v from pure noise": FROM_PURE_NOISE}
# From a sigma of 4096 these step to a difference of large numbers, of which diffusers' own loops lose three digits in
# float32 (9e-4 at 20 steps, of Heun): the oracle is then its loop in float64. The table does without that difference.
ROUGH_FROM_PURE_NOISE = ["Heun", "DPM2", "DPM2 a"]
TWO_EVALUATIONS = [name for name in SERVED if name.startswith(("Heun", "DPM2", "DPM++ SDE", "DPM++ 2S a", "Restart"))]
PLMS = ["PNDM", "PLMS"]

each_name = pytest.mark.parametrize("name", SERVED)


def deviation(name: str, steps: int, span: Span, diffusion: Diffusion) -> float:
    """Of the table's latents from the lone run's; that both drew equally much noise is asserted."""
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    double = diffusion == FROM_PURE_NOISE and name in ROUGH_FROM_PURE_NOISE
    ours, theirs = (DoubleNoiseSource(11) if double else NoiseSource(11) for _ in range(2))
    found = table_run(compile_table(name, steps, span, diffusion), toy_model, start, ours)
    expected = oracle(name, steps, span, diffusion, start.double() if double else start, theirs)
    assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())
    return worst_error(found, expected)


def oracle(
    name: str, steps: int, span: Span, diffusion: Diffusion, start: torch.Tensor, source: NoiseSource
) -> list[torch.Tensor]:
    """The latents of diffusers' own loop, or of the loop published."""
    scheduler = lone_scheduler(EULERS.get(name, name), steps, diffusion)
    if name in EULERS:
        return published_run(name, scheduler, toy_model, span, start, source)
    return lone_run(scheduler, toy_model, steps, span, start, source)


@pytest.mark.parametrize("diffusion", DIFFUSIONS.values(), ids=DIFFUSIONS)
@each_name
def test_a_table_makes_the_latents_of_its_own_diffusers_loop_after_every_evaluation(name, diffusion):
    worst = {span: deviation(name, 20, span, diffusion) for span in SPANS}
    assert max(worst.values()) <= PARITY, worst


@pytest.mark.parametrize("steps", [25, 50, 100])
@pytest.mark.parametrize("diffusion", DIFFUSIONS.values(), ids=DIFFUSIONS)
@each_name
def test_more_steps_stay_as_close(name, diffusion, steps):
    assert deviation(name, steps, WholeRun(), diffusion) <= PARITY


@pytest.mark.parametrize("steps", [1, 3])
@each_name
def test_a_handful_of_steps_is_as_close(name, steps):
    assert deviation(name, steps, WholeRun(), EPSILON) <= PARITY


@each_name
def test_a_run_takes_a_known_number_of_evaluations(name):
    expected = 2 * 20 - 1 if name in TWO_EVALUATIONS else 20 + 1 if name in PLMS else 20
    table = compile_table(name, 20, WholeRun(), EPSILON)
    assert (table.evaluations, table.steps) == (expected, 20)
    assert list(np.unique(table.step_of)) == list(range(1, 21))
    assert (np.diff(table.step_of) >= 0).all()


@pytest.mark.parametrize("name", ["UniPC", "DPM++ 2M", "DPM++ 3M SDE", "LMS"])
def test_a_part_begins_without_the_history_of_the_run(name):
    whole = compile_table(name, 20, WholeRun(), EPSILON)
    part = compile_table(name, 20, Strength(0.65), EPSILON)
    assert np.array_equal(part.timesteps, whole.timesteps[7:])
    assert np.abs(part.predictions[0] - whole.predictions[7]).max() > 1e-3


def test_a_cut_before_the_first_or_after_the_last_timestep_leaves_a_part_with_nothing_to_do():
    base = compile_table("Euler", 20, DenoisingEnd(0.001), EPSILON)
    refiner = compile_table("Euler", 20, DenoisingStart(0.9999), EPSILON)
    assert (base.evaluations, refiner.evaluations) == (0, 0)
    assert base.latents.shape == refiner.latents.shape == (0, 4)
    assert base.start == compile_table("Euler", 20, WholeRun(), EPSILON).start
    assert refiner.start == Start(latent_scale=1.0, noise_scale=0.0)


@each_name
def test_v_prediction_is_epsilon_in_other_words(name):
    """The same denoiser, once told as epsilon and once as v, ends at the same latents: each class truly converts."""
    start, ending = torch.zeros(SHAPE), []
    for diffusion in (EPSILON, VELOCITY):
        table = compile_table(name, 20, WholeRun(), diffusion)
        model = toy_model if diffusion == EPSILON else as_velocity(table, name)
        # PLMS averages what the model says at different timesteps: only its first evaluation must agree.
        ending.append(table_run(table, model, start, NoiseSource(11))[: 2 if name in PLMS else None])
    assert worst_error(*ending) <= PARITY


def as_velocity(table: SolverTable, name: str):
    """v = alpha epsilon - sigma x0 (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512), at each own sigma."""
    signal = iter(signal_rates(table, name))

    def model(seen, timestep):
        alpha = next(signal)
        sigma = (1 - alpha**2) ** 0.5
        epsilon = toy_model(seen, timestep)
        return alpha * epsilon - sigma * (seen - sigma * epsilon) / alpha

    return model


def signal_rates(table: SolverTable, name: str) -> np.ndarray:
    """[E] alpha: what schedulers in sigma's terms scale the model's input by; the others keep it to themselves."""
    if (table.input_scale != 1).any():
        return table.input_scale
    scheduler = lone_scheduler(name, table.steps, EPSILON)
    if hasattr(scheduler, "sigmas"):
        return (1 / np.sqrt(scheduler.sigmas[:-1].double().numpy() ** 2 + 1)).astype(np.float64)
    return scheduler.alphas_cumprod.double().numpy()[table.timesteps.astype(int)] ** 0.5


def test_a_scheduler_that_draws_twice_a_step_is_refused():
    class TwiceNoisy(diffusers.EulerAncestralDiscreteScheduler):
        def step(self, *arguments, generator, **options):
            torch.randn(3, generator=generator)
            return super().step(*arguments, generator=generator, **options)

    with pytest.raises(ValueError, match="more than one noise"):
        compile_scheduler(TwiceNoisy(), 20, WholeRun())


def test_a_strength_that_leaves_no_step_is_refused():
    with pytest.raises(BadRequest, match=r"strength: 0\.04 of 20 steps is less than one"):
        compile_table("Euler", 20, Strength(0.04), EPSILON)


def test_a_table_is_compiled_once_and_cannot_be_written_to():
    table = compile_table("UniPC", 25, WholeRun(), EPSILON)
    assert compile_table("UniPC", 25, WholeRun(), EPSILON) is table
    for part in ("timesteps", "input_scale", "latents", "predictions", "noise", "draws", "step_of"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(table, part)[0] = 0


def test_tables_compiled_side_by_side_are_the_same():
    def weights(_):
        return compile_scheduler(build_scheduler("Euler a", EPSILON), 20, WholeRun()).noise

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(weights, range(8))
    assert all(np.array_equal(first, other) for other in others)


def test_brownian_intervals_lie_in_their_range_and_belong_to_every_evaluation_but_the_last():
    brownian = compile_table("DPM++ SDE Karras", 20, WholeRun(), EPSILON).brownian
    assert brownian is not None
    assert (brownian.intervals[:-1, 0] > brownian.intervals[:-1, 1]).all()
    assert (brownian.intervals[-1] == 0).all()
    assert brownian.intervals[:-1].min() == pytest.approx(brownian.sigma_min, rel=1e-5)
    assert brownian.intervals.max() == pytest.approx(brownian.sigma_max, rel=1e-5)
