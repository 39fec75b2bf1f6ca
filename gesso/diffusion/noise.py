"""An image's own noise, which depends on its seed alone. Knows nothing of tables or of other images.

Diffusers is the oracle: given the same generator, or the same seed for its Brownian motion, it draws the same bits.
"""

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BatchedBrownianTree

# Where torch's CPU generator keeps its Mersenne Twister among the bytes of its state: behind the first seed (8 bytes),
# the count of words left (4), a flag (4) and the next word's index (8), 624 words of 32 bits, each in 8 bytes.
TWISTER_OFFSET = 24
TWISTER_WORDS = 624
# Diffusers gives its tree a tolerance of 1e-6, to which the tree rounds times.
TREE_DIGITS = 6


def seeded_generator(seed: int) -> torch.Generator:
    """A CPU generator that depends on every bit of a seed of at most 64 bits.

    torch's own seeding reads the low 32 bits only. Below 2**32 it is used as it is; from there on numpy's SeedSequence
    (O'Neill 2015, https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html) hashes the seed into the
    generator's full state.
    """
    generator = torch.Generator("cpu")
    if seed < 2**32:
        return generator.manual_seed(seed)
    generator.manual_seed(0)  # a fresh state: the next draw begins by mixing all 624 words
    key = np.random.MT19937(np.random.SeedSequence(seed)).state["state"]["key"]
    state = generator.get_state()
    words = state[TWISTER_OFFSET : TWISTER_OFFSET + 8 * TWISTER_WORDS]
    words.copy_(torch.from_numpy(key.astype("<u8").view(np.uint8)))
    return generator.set_state(state)


class NoiseSource:
    """Draws in the order of a lone diffusers run: start image's posterior, start noise, then the steps' noise.

    generator: the CPU generator itself; handed to diffusers instead, it makes the same picture.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generator = seeded_generator(seed)

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next standard normal noise, float32 on the CPU."""
        return torch.randn(shape, generator=self.generator)


class BrownianNoise:
    """DPM++ SDE's noise for one image: normalised increments of a Brownian motion in sigma (a torchsde tree).

    Equals diffusers' BrownianTreeNoiseSampler with `noise_sampler_seed=seed`, whatever order intervals are asked in.
    """

    def __init__(self, seed: int, shape: tuple[int, ...], sigma_min: float, sigma_max: float) -> None:
        self._tree = BatchedBrownianTree(torch.zeros(shape), _float32(sigma_min), _float32(sigma_max), seed)
        self._least, self._most = round(sigma_min, TREE_DIGITS), round(sigma_max, TREE_DIGITS)

    def between(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """The standard normal noise of one interval, `shape` float32 on the CPU."""
        begin, end = _float32(sigma), _float32(sigma_next)
        increment: torch.Tensor = self._tree(self._inside(begin), self._inside(end))
        return increment / (end - begin).abs().sqrt()

    def _inside(self, sigma: torch.Tensor) -> float:
        """The tree would do the same, but warn: its range is rounded, and a sigma may lie a rounding error outside."""
        return min(max(sigma.item(), self._least), self._most)


def _float32(sigma: float) -> torch.Tensor:
    """Not in double: diffusers asks the tree in float32, and which bits come out hangs on it."""
    return torch.tensor(sigma, dtype=torch.float32)
