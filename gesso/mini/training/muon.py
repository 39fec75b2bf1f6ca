"""Muon: momentum made orthogonal, for the matrices inside a network. It learns more from each step than Adam.

After Keller Jordan and others, "Muon: an optimizer for hidden layers" (https://kellerjordan.github.io/posts/muon).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gesso.mini.training.team import Team

_QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions; a convolution counts as a matrix of outputs by all its inputs."""

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float,
        team: Team,
        momentum: float = 0.95,
        iterations: int = 4,
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "iterations": iterations})
        self._team = team

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Each process of a team makes its share of the matrices orthogonal, since all have the same gradients."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            moves = [torch.zeros_like(weight) for weight in weights]
            for number, (weight, move) in enumerate(zip(weights, moves, strict=True)):
                ahead = self._ahead(weight, group["momentum"])
                if number % self._team.size == self._team.rank:
                    move.copy_(orthogonalised(ahead, group["iterations"]).view_as(weight))
            self._team.add(moves)
            for weight, move in zip(weights, moves, strict=True):
                weight.sub_(move, alpha=group["lr"] * max(1.0, len(weight) / (weight.numel() // len(weight))) ** 0.5)

    def _ahead(self, weight: Tensor, momentum: float) -> Tensor:
        """The gradient with its momentum, as a matrix."""
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        average = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum).flatten(1)


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
