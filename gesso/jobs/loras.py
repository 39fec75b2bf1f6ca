"""Which LoRAs a request asks for: those that its prompt names, and those of its parameter `loras`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.entries import Checkpoint
from gesso.catalogue.validation import ValidRequest
from gesso.engine.messages import LoraFile
from gesso.errors import BadRequest, Problem
from gesso.prompt.loras import MOST, NamedLora, added, refuse_loras, take_loras, written

PARAMETER: Final = "loras"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class AskedLoras:
    """A prompt and what changes the model that reads it."""

    words: str
    """The prompt without the LoRAs that it names."""
    told: str
    """The prompt as it was written, with the parameter's LoRAs behind it in the same language."""
    files: tuple[LoraFile, ...]
    """By id, so that equal sets are equal; without those whose weights come to nothing."""


def asked_loras(
    valid: ValidRequest,
    prompt: str,
    negative_prompt: str,
    catalogue: Catalogue,
    models_dir: Path,
    problems: list[Problem],
) -> AskedLoras:
    """The LoRAs of a request whose prompts are in their style already. Weights of one name add up.

    Adds to `problems` what means nothing: marks, those of a negative prompt, names that there are not, LoRAs of another
    family than the base's, and more than eight.
    """
    base = catalogue.checkpoints[valid.endpoint.base(valid.values)]
    nothing: tuple[str, tuple[NamedLora, ...]] = (prompt, ())
    words, in_prompt = _noting(problems, lambda: take_loras(prompt), nothing)
    _noting(problems, lambda: refuse_loras(negative_prompt, "negative_prompt"), None)
    in_list = _listed(valid)
    together = added([*in_prompt, *in_list])
    if len(together) > MOST:
        problems.append(Problem(PARAMETER, len(together), f"{len(together)} LoRAs are named; at most {MOST} may be"))
    else:
        problems.extend(_unusable("prompt", in_prompt, base, catalogue))
        problems.extend(_unusable(PARAMETER, in_list, base, catalogue))
    files = tuple(
        LoraFile(lora.name, str(catalogue.loras[lora.name].path(models_dir)), lora.unet, lora.text_encoders)
        for lora in together
        if lora.name in catalogue.loras and (lora.unet or lora.text_encoders)
    )
    return AskedLoras(words, " ".join([prompt, *map(written, in_list)]), files)


def _noting(problems: list[Problem], read: Callable[[], Result], otherwise: Result) -> Result:
    try:
        return read()
    except BadRequest as error:
        problems.extend(error.problems)
        return otherwise


def _listed(valid: ValidRequest) -> tuple[NamedLora, ...]:
    """What the parameter names, in order; one weight is for the text encoders and the UNet."""
    loras = []
    for name, weight in valid.rows(PARAMETER):
        assert isinstance(name, str)
        assert isinstance(weight, float)
        loras.append(NamedLora(name.strip(), weight, weight))
    return tuple(loras)


def _unusable(parameter: str, loras: Sequence[NamedLora], base: Checkpoint, catalogue: Catalogue) -> list[Problem]:
    """In the order in which the request names them."""
    problems = []
    for name in dict.fromkeys(lora.name for lora in loras):
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        if problem := _problem(name, repr(shown), base, catalogue):
            problems.append(Problem(parameter, shown, problem))
    return problems


def _problem(name: str, shown: str, base: Checkpoint, catalogue: Catalogue) -> str | None:
    lora = catalogue.loras.get(name)
    if lora is None:
        there = ", ".join(id for id, entry in catalogue.loras.items() if entry.family == base.family)
        return f"there is no LoRA {shown} here; for this model there are: {there or 'none'}"
    if lora.family != base.family:
        return f"the LoRA {shown} is for models of the family {lora.family!r}; {base.id!r} is of {base.family!r}"
    return None
