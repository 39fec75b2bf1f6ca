"""`gesso prompt`: how a prompt is understood."""

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Final

from gesso.errors import BadRequest
from gesso.prompt.attention import BREAK, Part
from gesso.prompt.loras import NamedLora, added, take_loras
from gesso.prompt.understanding import Prompt, describe, understand
from gesso.settings import read_settings

MOST_STEPS: Final = 1000
"""As many as there are timesteps that a model was trained on."""

MOST_SPANS: Final = 6
"""Of those that follow a pattern, as many are written out."""


def prompt(text: str, /, *, steps: str = "20", json: bool = False) -> None:
    """How a prompt is understood: which words, with which weight, at which steps.

    Args:
        text: The prompt.
        steps: Of how many steps, 1 to 1000.
        json: Print JSON.
    """
    words, named = take_loras(text)
    understood, loras = understand(words, _read_steps(steps), limit=read_settings().prompt_limit), added(named)
    if json:
        told = describe(understood) | {"loras": [asdict(lora) for lora in loras]}
        print(json_format.dumps(told, ensure_ascii=False))
    else:
        _show(understood)
        for lora in loras:
            print(_told_lora(lora))


def _read_steps(steps: str) -> int:
    if not (steps.isascii() and steps.isdigit() and len(steps) <= 4 and 1 <= int(steps) <= MOST_STEPS):
        raise BadRequest(f"steps: {steps[:40]!r} is not a whole number from 1 to {MOST_STEPS}")
    return int(steps)


def _show(understood: Prompt) -> None:
    spans = _spans_by_parts(understood)
    for parts, held in spans.items():
        if len(spans) > 1:
            print(f"{_told(held)}:")
        for part in parts:
            print("   BREAK" if part is BREAK else f"{part.weight:8.3f}  {part.text!r}")
    shape = describe(understood)
    print(f"{'at most ' if len(spans) > 1 else ''}{shape['tokens']} tokens in {shape['chunks']} chunk(s) of 75")


def _told_lora(lora: NamedLora) -> str:
    if lora.text_encoders == lora.unet:
        return f"LoRA {lora.name} at {lora.unet:g}"
    return f"LoRA {lora.name} at {lora.text_encoders:g} in the text encoders, {lora.unet:g} in the UNet"


def _spans_by_parts(understood: Prompt) -> dict[tuple[Part, ...], list[range]]:
    """The steps, from 1, that have the same meaning, in order of their first."""
    spans: dict[tuple[Part, ...], list[range]] = {}
    begin = 1
    for stretch in understood.schedule:
        spans.setdefault(stretch.parts, []).append(range(begin, stretch.until_step + 1))
        begin = stretch.until_step + 1
    return spans


def _told(spans: Sequence[range]) -> str:
    """Steps in words: `step 3`, `steps 1 to 10, 15`, `steps 1, 3, 5, ... 99`."""
    words = [f"{span[0]} to {span[-1]}" if len(span) > 1 else f"{span[0]}" for span in spans]
    is_pattern = len({(later[0] - span[0], len(span)) for span, later in pairwise(spans)}) == 1
    if is_pattern and len(words) > MOST_SPANS:
        words[3:] = [f"... {words[-1]}"]
    return f"step {words[0]}" if len(spans) == len(spans[0]) == 1 else f"steps {', '.join(words)}"
