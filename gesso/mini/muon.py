"""Muon: momentum made orthogonal, for the matrices inside a network. It learns more from each step than Adam.

After Keller Jordan and others, "Muon: an optimizer for hidden layers" (https://kellerjordan.github.io/posts/muon).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions; a convolution counts as a matrix of outputs by all its inputs."""

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, iterations: int = 4) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "iterations": iterations})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group["lr"], group["momentum"], group["iterations"])

    def _move(self, weight: Tensor, gradient: Tensor, rate: float, momentum: float, iterations: int) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        average = state["momentum"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(average, momentum).flatten(1)
        rows, columns = ahead.shape
        scale = max(1.0, rows / columns) ** 0.5
        weight.sub_(orthogonalised(ahead, iterations).view_as(weight), alpha=rate * scale)


def orthogonalised(matrix: Tensor, iterations: int) -> Tensor:
    """Bring all singular values of a matrix near 1 by Newton and Schulz's iteration, in bfloat16."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    moved: Tensor = x.T if tall else x
    return moved.to(matrix.dtype)
