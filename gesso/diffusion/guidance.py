"""Classifier-free guidance (Ho & Salimans 2022, https://arxiv.org/abs/2207.12598), as diffusers weighs it."""

import torch


def is_guided(scale: float) -> bool:
    """Whether the unconditional prediction is needed: up to a scale of 1 the conditional one stands alone."""
    return scale > 1


def combine(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float | torch.Tensor) -> torch.Tensor:
    """unconditional + scale * (conditional - unconditional), elementwise; for scales above 1, one or broadcast."""
    return unconditional + scale * (conditional - unconditional)
