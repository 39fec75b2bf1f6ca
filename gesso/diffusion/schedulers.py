"""What a scheduler's name means in diffusers: a class, and every option that differs from SDXL's noise schedule.

Diffusers is the source of truth for the mathematics; this module holds only the names' meaning. The noise schedule is
that of SDXL's own configuration: beta 0.00085 to 0.012, scaled linear, 1000 train steps, "leading" spacing, offset 1.
"""

import copy
import inspect
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import diffusers

from gesso.diffusion.names import require_served

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


NOISE_SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
LEADING: dict[str, Any] = {"timestep_spacing": "leading", "steps_offset": 1}
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


DPM_MULTI = Recipe("DPMSolverMultistepScheduler", LEADING)
DPM2 = Recipe("KDPM2DiscreteScheduler", LEADING)
DPM2_ANCESTRAL = Recipe("KDPM2AncestralDiscreteScheduler", LEADING)
DPM_SDE = Recipe("DPMSolverSDEScheduler", LEADING)
EULER = Recipe("EulerDiscreteScheduler", LEADING)
LMS = Recipe("LMSDiscreteScheduler", LEADING)
PNDM = Recipe("PNDMScheduler", LEADING | {"skip_prk_steps": True, "set_alpha_to_one": False})


def _also(recipe: Recipe, *options: dict[str, Any]) -> Recipe:
    merged = dict(recipe.options)
    for more in options:
        merged |= more
    return Recipe(recipe.scheduler, merged)


# DPMSolverSinglestep knows no spacing of its own and always spaces evenly between the schedule's ends; that its last
# step is of lower order is what it falls back to, loudly, when it is not told so. The samplers of
# `gesso.diffusion.samplers` take their sigmas from Euler.
RECIPES: dict[str, Recipe] = {
    "DDIM": Recipe("DDIMScheduler", LEADING | {"clip_sample": False, "set_alpha_to_one": False}),
    "DDPM": Recipe("DDPMScheduler", LEADING | {"clip_sample": False}),
    "DPM Multi": DPM_MULTI,
    "DPM Single": Recipe("DPMSolverSinglestepScheduler", {"lower_order_final": True}),
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
    "Euler a": Recipe("EulerAncestralDiscreteScheduler", LEADING),
    "Heun": Recipe("HeunDiscreteScheduler", LEADING),
    "LMS": LMS,
    "LMS Karras": _also(LMS, KARRAS),
    "PLMS": PNDM,
    "PNDM": PNDM,
    "Restart": _also(EULER, KARRAS),
    "UniPC": Recipe("UniPCMultistepScheduler", LEADING),
}


def build_scheduler(name: str, diffusion: Diffusion) -> Any:
    """A fresh diffusers scheduler for a served name. Raises BadRequest for any other name."""
    require_served(name)
    return copy.deepcopy(_built_once(name, diffusion))


@cache
def _built_once(name: str, diffusion: Diffusion) -> Any:
    """Some constructors lay out a run of 1000 steps first, which takes longer than everything else together."""
    recipe = RECIPES[name]
    return configure(recipe.scheduler, prediction_type=diffusion.prediction_type, **recipe.options)


def configure(scheduler: str, **options: Any) -> Any:
    """A diffusers scheduler on SDXL's noise schedule. Raises ValueError for an option that its class does not know."""
    scheduler_class = getattr(diffusers, scheduler)
    unknown = options.keys() - inspect.signature(scheduler_class.__init__).parameters.keys()
    if unknown:
        raise ValueError(f"{scheduler} knows no {', '.join(sorted(unknown))}")
    return scheduler_class(**NOISE_SCHEDULE, **options)
