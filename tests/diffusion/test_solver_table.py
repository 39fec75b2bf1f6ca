from concurrent.futures import ThreadPoolExecutor

import diffusers
import numpy as np
import pytest
import torch

from gesso.diffusion.names import SERVED
from gesso.diffusion.noise import NoiseSource
from gesso.diffusion.schedulers import Diffusion, build_scheduler, configure
from gesso.diffusion.solver_table import SolverTable, Start, compile_scheduler, compile_table
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength, WholeRun
from gesso.errors import BadRequest

from .lone_run import SHAPE, lone_run, lone_scheduler, table_run, toy_model, worst_error
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
DIFFUSIONS = [EPSILON, VELOCITY]
TWO_EVALUATIONS = [name for name in SERVED if name.startswith(("Heun", "DPM2", "DPM++ SDE", "DPM++ 2S a", "Restart"))]
PLMS = ["PNDM", "PLMS"]
# Their next latent hangs on the last one alone, so a run cut in two is the run.
WITHOUT_HISTORY = [name for name in SERVED if name.startswith(("DD", "Euler", "Heun", "DPM2"))] + list(EULERS)

each_name = pytest.mark.parametrize("name", SERVED)


def deviation(name: str, steps: int, span: Span, diffusion: Diffusion) -> float:
    """Of the table's latents from the lone run's; that both drew equally much noise is asserted."""
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    ours, theirs = NoiseSource(11), NoiseSource(11)
    found = table_run(compile_table(name, steps, span, diffusion), toy_model, start, ours)
    scheduler = lone_scheduler(EULERS.get(name, name), steps, diffusion)
    if name in EULERS:
        expected = published_run(name, scheduler, toy_model, span, start, theirs)
    else:
        expected = lone_run(scheduler, toy_model, steps, span, start, theirs)
    assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())
    return worst_error(found, expected)


@each_name
def test_a_table_makes_the_latents_of_its_own_diffusers_loop_after_every_evaluation(name):
    worst = {span: deviation(name, 20, span, EPSILON) for span in SPANS}
    assert max(worst.values()) <= PARITY, worst


@each_name
def test_a_table_for_v_prediction_does_so_too(name):
    spans = (WholeRun(), Strength(0.65), DenoisingEnd(0.8), DenoisingStart(0.5))
    worst = {span: deviation(name, 20, span, VELOCITY) for span in spans}
    assert max(worst.values()) <= PARITY, worst


@each_name
def test_fifty_steps_stay_as_close(name):
    assert deviation(name, 50, WholeRun(), VELOCITY) <= PARITY


@pytest.mark.parametrize("name", ["UniPC", "DPM++ 3M SDE Karras", "DPM2 a Karras", "PNDM", "DDPM"])
def test_a_hundred_steps_stay_as_close(name):
    assert deviation(name, 100, WholeRun(), EPSILON) <= PARITY


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


@pytest.mark.parametrize("cut", CUTS)
@each_name
def test_base_and_refiner_take_every_evaluation_once(name, cut):
    whole = compile_table(name, 20, WholeRun(), EPSILON)
    base = compile_table(name, 20, DenoisingEnd(cut), EPSILON)
    refiner = compile_table(name, 20, DenoisingStart(cut), EPSILON)
    for part in ("timesteps", "input_scale", "step_of", "draws"):
        joined = np.concatenate([getattr(base, part), getattr(refiner, part)])
        assert np.array_equal(joined, getattr(whole, part)), part


@pytest.mark.parametrize("cut", [0.03, *CUTS, 0.61, 0.97])
@pytest.mark.parametrize("name", TWO_EVALUATIONS)
def test_the_refiner_takes_over_at_a_steps_end(name, cut):
    base = compile_table(name, 20, DenoisingEnd(cut), EPSILON)
    refiner = compile_table(name, 20, DenoisingStart(cut), EPSILON)
    assert set(base.step_of).isdisjoint(refiner.step_of)
    assert (base.timesteps[::2] >= 1000 * (1 - cut) - 0.5).all()
    assert (refiner.timesteps[:1] < 1000 * (1 - cut) + 0.5).all()


@pytest.mark.parametrize("name", WITHOUT_HISTORY)
def test_without_history_the_two_parts_of_a_run_are_the_run(name):
    whole = compile_table(name, 20, WholeRun(), EPSILON)
    parts = [compile_table(name, 20, span, EPSILON) for span in (DenoisingEnd(0.8), DenoisingStart(0.8))]
    for weights in ("latents", "predictions", "noise"):
        joined = np.concatenate([getattr(part, weights) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, weights), atol=1e-6)


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
    for diffusion in DIFFUSIONS:
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


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda: configure("DDIMScheduler", clip_sample=True),
        lambda: configure("DDPMScheduler", clip_sample=True),
        lambda: configure("DDIMScheduler", clip_sample=False, thresholding=True),
        lambda: configure("DPMSolverMultistepScheduler", thresholding=True),
        lambda: configure("UniPCMultistepScheduler", thresholding=True),
    ],
)
def test_a_scheduler_that_clips_is_refused(scheduler):
    with pytest.raises(ValueError, match=r"no sum over a window|not linear"):
        compile_scheduler(scheduler(), 20, WholeRun())


def test_a_scheduler_that_would_clip_only_large_latents_is_refused():
    scheduler = configure("DDIMScheduler", clip_sample=True, clip_sample_range=100)
    with pytest.raises(ValueError, match="not linear"):
        compile_scheduler(scheduler, 20, WholeRun())


def test_a_scheduler_that_draws_twice_a_step_is_refused():
    class TwiceNoisy(diffusers.EulerAncestralDiscreteScheduler):
        def step(self, *arguments, generator, **options):
            torch.randn(3, generator=generator)
            return super().step(*arguments, generator=generator, **options)

    with pytest.raises(ValueError, match="more than one noise"):
        compile_scheduler(TwiceNoisy(), 20, WholeRun())


def test_a_strength_that_leaves_no_step_is_refused():
    with pytest.raises(BadRequest, match=r"0\.04 leaves nothing to do in 20 steps"):
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
