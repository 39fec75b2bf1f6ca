"""An image's own noise (skeleton: signatures are final)."""

import torch


class NoiseSource:
    """Draws in the order of a lone diffusers run: start image's posterior, start noise, then the steps' noise.

    generator: the CPU generator itself; handed to diffusers, it makes the same picture.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generator = torch.Generator("cpu")

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next standard normal noise, float32 on the CPU."""
        raise NotImplementedError


class BrownianNoise:
    """DPM++ SDE's noise for one image: normalised increments of a Brownian motion in sigma, seeded by the image's seed."""

    def __init__(self, seed: int, shape: tuple[int, ...], sigma_min: float, sigma_max: float) -> None:
        raise NotImplementedError

    def between(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """The standard normal noise of one interval, `shape` float32 on the CPU."""
        raise NotImplementedError
