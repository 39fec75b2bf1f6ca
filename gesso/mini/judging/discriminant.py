"""Fisher's linear discriminant: tells names apart by numbers, fitted in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_RIDGE = 0.02


@dataclass(frozen=True)
class Discriminant:
    """Tells `names` apart: the score of each is linear in what is measured, after `mean` and `deviation` are taken out.
    `directions`: [measurements, names], `offsets`: [names], float64."""

    names: tuple[str, ...]
    mean: Tensor
    deviation: Tensor
    directions: Tensor
    offsets: Tensor

    def scores(self, measured: Tensor) -> Tensor:
        """[pictures, names], the logarithms of their odds, of [pictures, measurements]."""
        return (measured - self.mean) / self.deviation @ self.directions + self.offsets


def fitted(names: Sequence[str], measured: Tensor, answers: Tensor) -> Discriminant:
    """Of [pictures, measurements] float64 and [pictures] numbers of their names; the covariance is drawn a little
    towards the identity, since many measurements go together."""
    mean, deviation = measured.mean(0), measured.std(0) + 1e-6
    scaled = (measured - mean) / deviation
    centres = torch.stack([scaled[answers == number].mean(0) for number in range(len(names))])
    around = scaled - centres[answers]
    covariance = around.T @ around / len(around)
    covariance = torch.lerp(covariance, torch.eye(len(covariance), dtype=covariance.dtype), _RIDGE)
    directions = torch.linalg.solve(covariance, centres.T)
    return Discriminant(tuple(names), mean, deviation, directions, -(centres.T * directions).sum(0) / 2)
