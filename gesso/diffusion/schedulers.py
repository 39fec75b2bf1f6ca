"""What a scheduler's name means in diffusers: a class, and its options beside the checkpoint's noise schedule.

Diffusers is the source of truth for the mathematics; this module holds only the names' meaning.
"""

import copy
import inspect
from collections.abc import Set
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import diffusers

from gesso.diffusion.names import require_served
from gesso.diffusion.noise_schedule import BETAS, LEADING, RESCALED, TRAILING, TrailingSinglestep, rescaled_betas

PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, slots=True)
class Diffusion:
    """What a checkpoint learnt to undo, and how it says so.

    zero_terminal_snr: the last train timestep was pure noise (Lin et al. 2023, https://arxiv.org/abs/2305.08891).
    Raises ValueError for that with epsilon: of pure noise, the noise says nothing about the picture.
    """

    prediction_type: PredictionType
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise ValueError("a zero terminal SNR needs v_prediction: at pure noise epsilon says nothing")


KARRAS: dict[str, Any] = {"use_karras_sigmas": True}
EXPONENTIAL: dict[str, Any] = {"use_exponential_sigmas": True}
SDE: dict[str, Any] = {"algorithm_type": "sde-dpmsolver++"}
SDE_HEUN: dict[str, Any] = SDE | {"solver_type": "heun"}
SDE_THIRD_ORDER: dict[str, Any] = SDE | {"solver_order": 3}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A diffusers scheduler class and the options it takes beside the noise schedule."""

    scheduler: str
    options: dict[str, Any] = field(default_factory=dict)


SINGLESTEP = "DPMSolverSinglestepScheduler"

DPM_MULTI = Recipe("DPMSolverMultistepScheduler")
DPM2 = Recipe("KDPM2DiscreteScheduler")
DPM2_ANCESTRAL = Recipe("KDPM2AncestralDiscreteScheduler")
DPM_SDE = Recipe("DPMSolverSDEScheduler")
EULER = Recipe("EulerDiscreteScheduler")
LMS = Recipe("LMSDiscreteScheduler")
PNDM = Recipe("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False})


def _also(recipe: Recipe, *options: dict[str, Any]) -> Recipe:
    merged = dict(recipe.options)
    for more in options:
        merged |= more
    return Recipe(recipe.scheduler, merged)


# That its last step is of lower order is what DPMSolverSinglestep falls back to, loudly, when it is not told so. The
# samplers of `gesso.diffusion.samplers` take their sigmas from Euler.
RECIPES: dict[str, Recipe] = {
    "DDIM": Recipe("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "DDPM": Recipe("DDPMScheduler", {"clip_sample": False}),
    "DPM Multi": DPM_MULTI,
    "DPM Single": Recipe(SINGLESTEP, {"lower_order_final": True}),
    "DPM fast": EULER,
    "DPM++ 2M": DPM_MULTI,
    "DPM++ 2M Karras": _also(DPM_MULTI, KARRAS),
    "DPM++ 2M SDE": _also(DPM_MULTI, SDE),
    "DPM++ 2M SDE Exponential": _also(DPM_MULTI, SDE, EXPONENTIAL),
    "DPM++ 2M SDE Heun": _also(DPM_MULTI, SDE_HEUN),
    "DPM++ 2M SDE Heun Exponential": _also(DPM_MULTI, SDE_HEUN, EXPONENTIAL),
    "DPM++ 2M SDE Heun Karras": _also(DPM_MULTI, SDE_HEUN, KARRAS),
    "DPM++ 2M SDE Karras": _also(DPM_MULTI, SDE, KARRAS),
    "DPM++ 2S a": EULER,
    "DPM++ 2S a Karras": _also(EULER, KARRAS),
    "DPM++ 3M SDE": _also(DPM_MULTI, SDE_THIRD_ORDER),
    "DPM++ 3M SDE Exponential": _also(DPM_MULTI, SDE_THIRD_ORDER, EXPONENTIAL),
    "DPM++ 3M SDE Karras": _also(DPM_MULTI, SDE_THIRD_ORDER, KARRAS),
    "DPM++ SDE": DPM_SDE,
    "DPM++ SDE Karras": _also(DPM_SDE, KARRAS),
    "DPM2": DPM2,
    "DPM2 Karras": _also(DPM2, KARRAS),
    "DPM2 a": DPM2_ANCESTRAL,
    "DPM2 a Karras": _also(DPM2_ANCESTRAL, KARRAS),
    "Euler": EULER,
    "Euler a": Recipe("EulerAncestralDiscreteScheduler"),
    "Heun": Recipe("HeunDiscreteScheduler"),
    "LMS": LMS,
    "LMS Karras": _also(LMS, KARRAS),
    "PLMS": PNDM,
    "PNDM": PNDM,
    "Restart": _also(EULER, KARRAS),
    "UniPC": Recipe("UniPCMultistepScheduler"),
}


def build_scheduler(name: str, diffusion: Diffusion) -> Any:
    """A fresh diffusers scheduler for a served name. Raises BadRequest for any other name."""
    require_served(name)
    return copy.deepcopy(_built_once(name, diffusion))


@cache
def _built_once(name: str, diffusion: Diffusion) -> Any:
    """Some constructors lay out a run of 1000 steps first, which takes longer than everything else together."""
    recipe = RECIPES[name]
    options = recipe.options | {"prediction_type": diffusion.prediction_type}
    if diffusion.zero_terminal_snr:
        return _with_zero_terminal_snr(recipe.scheduler, options)
    # DPMSolverSinglestep knows no spacing: it always spaces evenly between the schedule's ends.
    return configure(recipe.scheduler, **options, **({} if recipe.scheduler == SINGLESTEP else LEADING))


def _with_zero_terminal_snr(scheduler: str, options: dict[str, Any]) -> Any:
    if scheduler == SINGLESTEP:
        return TrailingSinglestep(**BETAS, trained_betas=rescaled_betas(), **options)
    if RESCALED.keys() <= _known_options(scheduler):
        return configure(scheduler, **options, **TRAILING, **RESCALED)
    return configure(scheduler, **options, **TRAILING, trained_betas=rescaled_betas())


def configure(scheduler: str, **options: Any) -> Any:
    """A diffusers scheduler on SDXL's betas. Raises ValueError for an option that its class does not know."""
    if unknown := options.keys() - _known_options(scheduler):
        raise ValueError(f"{scheduler} knows no {', '.join(sorted(unknown))}")
    return getattr(diffusers, scheduler)(**BETAS, **options)


def _known_options(scheduler: str) -> Set[str]:
    return inspect.signature(getattr(diffusers, scheduler).__init__).parameters.keys()
