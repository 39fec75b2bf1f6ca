"""The oracle: one image through one diffusers scheduler, as the SDXL pipelines run it, and the same run by its table.

Schedulers are configured here from scratch, not by the code under test. Each yields the latents after every evaluation.
"""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from gesso.diffusion.noise import BrownianNoise, NoiseSource
from gesso.diffusion.schedulers import Diffusion
from gesso.diffusion.solver_table import SolverTable
from gesso.diffusion.span import DenoisingEnd, DenoisingStart, Span, Strength, WholeRun
from gesso.diffusion.update import advance

Model = Callable[[torch.Tensor, float], torch.Tensor]

SHAPE = (1, 4, 8, 8)
SDXL = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}
LAST_ALPHA = 2**-24
CLASSES = {
    "DDIM": "DDIM",
    "DDPM": "DDPM",
    "DPM Multi": "DPMSolverMultistep",
    "DPM Single": "DPMSolverSinglestep",
    "DPM++ 2M": "DPMSolverMultistep",
    "DPM++ 3M": "DPMSolverMultistep",
    "DPM++ SDE": "DPMSolverSDE",
    "DPM2": "KDPM2Discrete",
    "DPM2 a": "KDPM2AncestralDiscrete",
    "Euler": "EulerDiscrete",
    "Euler a": "EulerAncestralDiscrete",
    "Heun": "HeunDiscrete",
    "LMS": "LMSDiscrete",
    "PLMS": "PNDM",
    "PNDM": "PNDM",
    "UniPC": "UniPCMultistep",
}


def toy_model(seen: torch.Tensor, timestep: float) -> torch.Tensor:
    """A non-linear denoiser, told apart by timestep; its neighbours' latents mix into each."""
    time = timestep / 1000
    return 0.9 * torch.tanh((1 + time) * seen + 0.3 * seen.roll(1, -1)) + 0.1 * torch.sin(3 * seen + 5 * time)


def lone_scheduler(name: str, steps: int, diffusion: Diffusion) -> Any:
    """Fresh, its timesteps set. At a zero terminal SNR trailing spacing is Euler's, for a class that knows none."""
    scheduler = copy.deepcopy(_built_once(name, diffusion))
    if diffusion.zero_terminal_snr and "timestep_spacing" not in scheduler.config:
        scheduler.set_timesteps(timesteps=lone_scheduler("Euler", steps, diffusion).timesteps.tolist())
    else:
        scheduler.set_timesteps(steps)
    return scheduler


@cache
def _built_once(name: str, diffusion: Diffusion) -> Any:
    method, spacing = name, {}
    for suffix, option in (("Karras", "use_karras_sigmas"), ("Exponential", "use_exponential_sigmas")):
        if name.endswith(suffix):
            method, spacing = name.removesuffix(suffix).strip(), {option: True}
    options = SDXL | spacing | {"prediction_type": diffusion.prediction_type}
    if method == "DPM Single":
        options["lower_order_final"] = True
    if method.startswith(("DPM++ 2M SDE", "DPM++ 3M SDE")):
        options |= {"algorithm_type": "sde-dpmsolver++", "solver_order": int(method[6])}
        options |= {"solver_type": "heun"} if method.endswith("Heun") else {}
        method = method[:8]
    scheduler_class = getattr(diffusers, CLASSES[method] + "Scheduler")
    known = inspect.signature(scheduler_class.__init__).parameters
    if not diffusion.zero_terminal_snr:
        return scheduler_class(**{option: value for option, value in options.items() if option in known})
    options |= {"timestep_spacing": "trailing", "steps_offset": 0, "rescale_betas_zero_snr": True}
    if "rescale_betas_zero_snr" not in known:
        options["trained_betas"] = _rescaled_betas()
    return scheduler_class(**{option: value for option, value in options.items() if option in known})


def _rescaled_betas() -> list[float]:
    """Diffusers' own, but for the last: it makes the last cumulative alpha diffusers' floor instead of 0."""
    rescaled = rescale_zero_terminal_snr(torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).double()
    rescaled[-1] = 1 - LAST_ALPHA / (1 - rescaled[:-1]).prod()
    return rescaled.tolist()


def lone_run(
    scheduler: Any, model: Model, steps: int, span: Span, start: torch.Tensor, source: NoiseSource
) -> list[torch.Tensor]:
    """The latents, the first one included. `start`: the image's latents, for the spans that begin with some.

    In the precision of `start`; `source` draws in the same.
    """
    generator = source.generator
    timesteps = _timesteps(scheduler, steps, span)
    latents = start
    if isinstance(span, Strength):
        latents = scheduler.add_noise(start, source.draw(SHAPE), timesteps[:1])
    elif not isinstance(span, DenoisingStart):
        latents = source.draw(SHAPE) * scheduler.init_noise_sigma
    extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    if isinstance(scheduler, diffusers.DPMSolverSDEScheduler):
        scheduler.noise_sampler_seed = source.seed
    states = [latents]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Should have t", category=UserWarning)  # torchsde, at its range's end
        for timestep in timesteps:
            prediction = model(scheduler.scale_model_input(states[-1], timestep), float(timestep))
            states.append(scheduler.step(prediction, timestep, states[-1], **extra, return_dict=False)[0])
    return states


def _timesteps(scheduler: Any, steps: int, span: Span) -> torch.Tensor:
    if scheduler.order == 2 and isinstance(span, DenoisingEnd | DenoisingStart):
        return _whole_steps(scheduler, span)
    match span:
        case Strength(strength):
            return _pipeline_timesteps(scheduler, steps, strength=strength)
        case DenoisingStart(fraction):
            return _pipeline_timesteps(scheduler, steps, strength=0.3, denoising_start=fraction)
        case DenoisingEnd(fraction):
            _begin_at(scheduler, 0)
            cutoff = round(1000 - (fraction * 1000))
            return scheduler.timesteps[: len([t for t in scheduler.timesteps if t >= cutoff])]
        case WholeRun():
            _begin_at(scheduler, 0)
            return scheduler.timesteps


def _pipeline_timesteps(scheduler: Any, steps: int, **span: float) -> torch.Tensor:
    pipeline = SimpleNamespace(scheduler=scheduler)
    return StableDiffusionXLImg2ImgPipeline.get_timesteps(pipeline, steps, device="cpu", **span)[0]


def _whole_steps(scheduler: Any, span: DenoisingEnd | DenoisingStart) -> torch.Tensor:
    """Where diffusers' pipelines would cut a step in half: the base takes the steps that start before the cut."""
    base, refiner = [], []
    remaining = list(scheduler.timesteps)
    while remaining:
        step, remaining = remaining[:2], remaining[2:]
        (base if step[0] >= round(1000 - span.fraction * 1000) else refiner).extend(step)
    _begin_at(scheduler, 0 if isinstance(span, DenoisingEnd) else len(base))
    return torch.stack(base if isinstance(span, DenoisingEnd) else refiner)


def _begin_at(scheduler: Any, evaluation: int) -> None:
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(evaluation)


class DoubleNoiseSource(NoiseSource):
    """Draws float64, as a lone run in that precision does."""

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)


def table_run(table: SolverTable, model: Model, start: torch.Tensor, source: NoiseSource) -> list[torch.Tensor]:
    """The same latents by the table, float32, over windows as an engine keeps them: newest first, zero before."""
    scales = table.start
    latents = scales.latent_scale * start
    if scales.noise_scale:
        latents = latents + scales.noise_scale * source.draw(SHAPE).float()
    noises = _step_noises(table, source)
    a, b, s = (torch.tensor(part, dtype=torch.float32) for part in (table.latents, table.predictions, table.noise))
    states, predictions = [latents], []
    for i in range(table.evaluations):
        predictions.append(model(states[-1] * float(table.input_scale[i]), float(table.timesteps[i])))
        step = slice(i, i + 1)
        states.append(advance(_window(states), _window(predictions), a[step], b[step], s[step], next(noises)))
    return states


def _step_noises(table: SolverTable, source: NoiseSource) -> Iterator[torch.Tensor]:
    if table.brownian is not None:
        motion = BrownianNoise(source.seed, SHAPE[1:], table.brownian.sigma_min, table.brownian.sigma_max)
        for begin, end in table.brownian.intervals:
            yield motion.between(begin, end).unsqueeze(0) if begin > 0 else torch.zeros(SHAPE)
    else:
        for draw in table.draws:
            yield source.draw(SHAPE).float() if draw else torch.zeros(SHAPE)


def _window(newest_last: list[torch.Tensor]) -> torch.Tensor:
    newest = newest_last[:-5:-1]
    return torch.stack(newest + [torch.zeros(SHAPE)] * (4 - len(newest)), dim=1)


def worst_error(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest deviation after any evaluation, relative to that latent's largest number."""
    assert len(found) == len(expected)
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)
