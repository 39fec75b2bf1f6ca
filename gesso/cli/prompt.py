"""`gesso prompt`: how a prompt is understood."""

import json as json_format

from gesso.prompt.understanding import describe, understand
from gesso.settings import read_settings


def prompt(text: str, /, *, steps: int = 20, json: bool = False) -> None:
    """How a prompt is understood: which words, with which weight, until which step.

    Args:
        text: The prompt.
        steps: Of how many steps.
        json: Print JSON.
    """
    understood = understand(text, steps, limit=read_settings().prompt_limit)
    if json:
        print(json_format.dumps(describe(understood), ensure_ascii=False))
        return
    begin = 1
    for stretch in understood.schedule:
        if len(understood.schedule) > 1:
            print(f"steps {begin} to {stretch.until_step}:" if begin < stretch.until_step else f"step {begin}:")
        for words, weight in stretch.parts:
            print("   BREAK" if (words, weight) == ("BREAK", 0) else f"{weight:8.3f}  {words!r}")
        begin = stretch.until_step + 1
    shape = describe(understood)
    print(f"{shape['tokens']} tokens in {shape['chunks']} chunk(s) of 75")
