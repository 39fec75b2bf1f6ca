"""Prompts read as AUTOMATIC1111 1.10 reads them, at every step.

`automatic1111.json` holds what its grammar (with the lark release that it pins), its attention and its chunking
answered: `at_step` says for each step of the run, from the first, which of the `meanings` holds. BREAK's weight is
written 0. Prompts whose answer there changes from process to process are not among them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gesso.catalogue.catalogue import load_catalogue
from gesso.catalogue.entries import Style
from gesso.prompt.attention import Part
from gesso.prompt.understanding import Stretch, understand

CASES = json.loads(Path(__file__).with_name("automatic1111.json").read_text(encoding="utf-8"))
RECORDED = {(case["prompt"], case["steps"]) for case in CASES}
CATALOGUE = load_catalogue()


@pytest.mark.parametrize("case", CASES, ids=[f"{case['prompt'][:30]!a} in {case['steps']}" for case in CASES])
def test_a_prompt_has_at_every_step_the_parts_weights_and_chunks_that_automatic1111_gives_it(
    case: dict[str, Any],
) -> None:
    schedule = understand(case["prompt"], case["steps"]).schedule
    assert len(case["at_step"]) == schedule[-1].until_step == case["steps"]
    for step, meaning in enumerate(case["at_step"], 1):
        holding = next(stretch for stretch in schedule if step <= stretch.until_step)
        assert recorded_form(holding) == case["meanings"][meaning], f"at step {step}"


def recorded_form(stretch: Stretch) -> dict[str, Any]:
    return {
        "parts": [list(part) for part in stretch.parts],
        "chunk_lengths": [len(chunk.tokens) for chunk in stretch.chunks],
    }


def steps_of(example: Mapping[str, Any]) -> int:
    """Those really taken."""
    steps: int = example["num_inference_steps"]
    return int(steps * example["strength"]) if "image" in example else steps


@pytest.mark.parametrize("slug", CATALOGUE.endpoints)
@pytest.mark.parametrize("parameter", ["prompt", "negative_prompt"])
def test_the_documented_prompts_are_recorded_in_as_many_steps_as_documented(slug: str, parameter: str) -> None:
    example = CATALOGUE.endpoints[slug].example
    assert (example[parameter], steps_of(example)) in RECORDED


@pytest.mark.parametrize("slug", CATALOGUE.endpoints)
@pytest.mark.parametrize("style", CATALOGUE.styles.values(), ids=lambda style: style.name)
def test_a_style_adds_words_of_weight_one_around_a_documented_prompt(style: Style, slug: str) -> None:
    example = CATALOGUE.endpoints[slug].example
    before, after = style.prompt.split("{prompt}")
    styled = style.apply(str(example["prompt"]), "")[0]
    (plain,), (painted,) = (understand(text, 25).schedule for text in (str(example["prompt"]), styled))
    assert painted.parts == with_words_around(before, plain.parts, after)


def with_words_around(before: str, parts: Sequence[Part], after: str) -> tuple[Part, ...]:
    joined: list[Part] = []
    for part in (Part(before, 1.0), *parts, Part(after, 1.0)):
        if joined and joined[-1].weight == part.weight:
            joined.append(Part(joined.pop().text + part.text, part.weight))
        elif part.text:
            joined.append(part)
    return tuple(joined)


def test_the_dreamshapers_negative_prompt_changes_at_every_step() -> None:
    negative = CATALOGUE.endpoints["sdxl1.0-dreamshaper"].example["negative_prompt"]
    (case,) = (case for case in CASES if (case["prompt"], case["steps"]) == (negative, 35))
    assert case["at_step"] == [step % 4 for step in range(35)]
