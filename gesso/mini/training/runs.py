"""A training run that can stop at any step and go on exactly as if it had not.

Knows the optimiser, the learning rate, the moving average of the weights and the state on disk; not what is learnt.
"""

import copy
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gesso.mini.training.muon import Muon
from gesso.mini.training.team import Team

ALONE = Team()


@dataclass(frozen=True)
class Pace:
    """So many steps: the rate rises over `warmup` of them, stays, and falls to nothing over the last `decay` share.

    `rate` is Adam's. With a `matrix_rate`, Muon moves the inner matrices at that rate instead.
    """

    steps: int
    rate: float
    warmup: int = 100
    decay: float = 0.4
    average: float = 0.999
    weight_decay: float = 0.01
    matrix_rate: float = 0.0

    def share_at(self, step: int) -> float:
        """What part of the full rate applies."""
        falling = (self.steps - step) / max(self.decay * self.steps, 1)
        return min((step + 1) / self.warmup, 1.0, max(falling, 0.01))


class Run:
    """What changes while training: the model, its average, the optimisers, the step and the chance."""

    def __init__(self, model: nn.Module, pace: Pace, seed: int, team: Team = ALONE) -> None:
        self.model = model
        self.pace = pace
        self.team = team
        with torch.no_grad():
            team.average(list(model.parameters()))
        self.average = copy.deepcopy(model).requires_grad_(False)
        self._optimisers = _optimisers(model, pace, team)
        self.rng = random.Random(seed + team.rank)
        self.step = 0
        torch.manual_seed(seed + team.rank)

    @property
    def progress(self) -> float:
        return self.step / self.pace.steps

    def learn(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss` and move the average along."""
        share = self.pace.share_at(self.step)
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average([weight.grad for weight in self.model.parameters() if weight.grad is not None])
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser, rate in zip(self._optimisers, (self.pace.rate, self.pace.matrix_rate), strict=False):
            for group in optimiser.param_groups:
                group["lr"] = rate * share
            optimiser.step()
        self.step += 1
        keep = min(self.pace.average, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)

    def save(self, path: Path) -> None:
        """Write everything needed to go on, once for the whole team; a run killed meanwhile leaves the former file."""
        chances = self.team.all((self.rng.getstate(), torch.get_rng_state()))
        if not self.team.leads:
            return
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "step": self.step,
            "chances": chances,
        }
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote; exactly so only in a team of the same size."""
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step = state["step"]
        if self.team.rank < len(state["chances"]):
            own, torchs = state["chances"][self.team.rank]
            self.rng.setstate(own)
            torch.set_rng_state(torchs)


def _optimisers(model: nn.Module, pace: Pace, team: Team) -> list[torch.optim.Optimizer]:
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    matrices = [weight for name, weight in trained.items() if pace.matrix_rate and _is_inner(name, weight)]
    chosen = set(map(id, matrices))
    others = [weight for weight in trained.values() if id(weight) not in chosen]
    adam = torch.optim.AdamW(others, lr=pace.rate, betas=(0.9, 0.99), weight_decay=pace.weight_decay, fused=True)
    optimisers: list[torch.optim.Optimizer] = [adam]
    if matrices:
        optimisers.append(Muon(matrices, pace.matrix_rate, team))
    return optimisers


def _is_inner(name: str, weight: Tensor) -> bool:
    """Matrices between hidden layers; the first and the last layer and all embeddings are Adam's."""
    return weight.dim() >= 2 and not any(part in name for part in ("conv_in", "conv_out", "embedding", "time_emb_proj"))
