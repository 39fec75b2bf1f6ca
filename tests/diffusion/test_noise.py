import warnings

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler
from diffusers.utils.torch_utils import randn_tensor

from gesso.diffusion.noise import BrownianNoise, NoiseSource, seeded_generator
from gesso.diffusion.schedulers import Diffusion
from gesso.diffusion.solver_table import compile_table
from gesso.diffusion.span import DenoisingStart, WholeRun

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SHAPE = (4, 16, 24)
LONG = 2**40 + 12345


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_below_32_bits_a_seed_draws_as_torch_does(seed):
    expected = torch.randn(SHAPE, generator=torch.Generator("cpu").manual_seed(seed))
    assert torch.equal(NoiseSource(seed).draw(SHAPE), expected)


@pytest.mark.parametrize("seed", [2**32, 2**32 + 5, 98877465625, 999999999999999, 2**63 - 1])
def test_from_32_bits_on_every_bit_of_a_seed_counts(seed):
    one = NoiseSource(seed).draw(SHAPE)
    assert torch.equal(one, NoiseSource(seed).draw(SHAPE))
    for other in (seed % 2**32, seed - 1, seed ^ 2**33):
        assert not torch.equal(one, NoiseSource(other).draw(SHAPE))


@pytest.mark.parametrize("seed", [2**32 + 5, LONG])
def test_a_long_seed_fills_the_generators_whole_twister(seed):
    """The generator goes on as numpy's Mersenne Twister with the same key: torch's uniforms are its low 24 bits."""
    twister = np.random.MT19937(np.random.SeedSequence(seed))
    twister.state = {**twister.state, "state": {"key": twister.state["state"]["key"], "pos": 624}}
    expected = (twister.random_raw(2000) & 0xFFFFFF).astype(np.float32) / 2**24
    assert np.array_equal(torch.rand(2000, generator=seeded_generator(seed)).numpy(), expected)


def test_noise_from_a_long_seed_is_standard_normal():
    noise = NoiseSource(LONG).draw((4, 128, 128))
    assert abs(float(noise.mean())) < 0.02
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("seed", [7, LONG])
def test_draws_come_in_the_order_of_a_lone_run_given_the_same_generator(seed):
    source, generator = NoiseSource(seed), NoiseSource(seed).generator
    for _ in range(3):
        assert torch.equal(source.draw(SHAPE), randn_tensor((1, *SHAPE), generator=generator)[0])


@pytest.mark.parametrize("seed", [7, LONG])
@pytest.mark.parametrize(("steps", "span"), [(3, WholeRun()), (20, WholeRun()), (20, DenoisingStart(0.8))])
def test_brownian_noise_is_diffusers_own_bit_for_bit(seed, steps, span):
    brownian = compile_table("DPM++ SDE", steps, span, Diffusion("epsilon")).brownian
    assert brownian is not None
    ours = BrownianNoise(seed, SHAPE, brownian.sigma_min, brownian.sigma_max)
    theirs = BrownianTreeNoiseSampler(torch.zeros(1, *SHAPE), brownian.sigma_min, brownian.sigma_max, seed)
    for interval in brownian.intervals[:-1]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs warns where a sigma lies a rounding error outside its range
            expected = theirs(*torch.tensor(interval, dtype=torch.float32))
        assert torch.equal(ours.between(*interval), expected[0])


def test_brownian_noise_does_not_hang_on_the_order_of_asking():
    intervals = [(14.0, 9.5), (9.5, 3.25), (3.25, 0.5)]
    forward, backward = BrownianNoise(7, SHAPE, 0.03, 14.6), BrownianNoise(7, SHAPE, 0.03, 14.6)
    expected = [forward.between(*interval) for interval in intervals]
    found = [backward.between(*interval) for interval in reversed(intervals)]
    assert all(torch.equal(one, other) for one, other in zip(expected, reversed(found), strict=True))


def test_brownian_noise_counts_every_bit_of_a_seed():
    one, other = (BrownianNoise(seed, SHAPE, 0.03, 14.6).between(14.0, 9.5) for seed in (5, 5 + 2**32))
    assert not torch.equal(one, other)
