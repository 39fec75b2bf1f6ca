"""A training run that can stop at any step and go on exactly as if it had not.

Knows the optimiser, the learning rate, the moving average of the weights and the state on disk; not what is learnt.
"""

import copy
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pace:
    """So many steps: the rate rises over `warmup` of them, stays, and falls to nothing over the last `decay` share."""

    steps: int
    rate: float
    warmup: int = 100
    decay: float = 0.4
    average: float = 0.999

    def rate_at(self, step: int) -> float:
        falling = (self.steps - step) / max(self.decay * self.steps, 1)
        return self.rate * min((step + 1) / self.warmup, 1.0, max(falling, 0.01))


class Run:
    """What changes while training: the model, its average, the optimiser, the step and the chance."""

    def __init__(self, model: nn.Module, pace: Pace, seed: int) -> None:
        self.model = model
        self.pace = pace
        self.average = copy.deepcopy(model).requires_grad_(False)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(trained, lr=pace.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.rng = random.Random(seed)
        self.step = 0
        torch.manual_seed(seed)

    @property
    def progress(self) -> float:
        return self.step / self.pace.steps

    def learn(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss` and move the average along."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.pace.rate_at(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        keep = min(self.pace.average, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)

    def save(self, path: Path) -> None:
        """Write everything needed to go on; a run killed meanwhile leaves the former file."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "rng": self.rng.getstate(),
            "torch": torch.get_rng_state(),
        }
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.rng.setstate(state["rng"])
        torch.set_rng_state(state["torch"])
