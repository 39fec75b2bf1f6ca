"""Prompts read as AUTOMATIC1111 1.10 reads them.

`automatic1111.json` holds what its grammar (with the lark release that it pins), its attention and its chunking
answered, neighbours with equal parts made one and BREAK's weight written 0. Prompts whose answer there changes from
process to process are not among them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from gesso.prompt.understanding import describe, understand

CASES = json.loads(Path(__file__).with_name("automatic1111.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[f"{case['prompt'][:30]!a} in {case['steps']}" for case in CASES])
def test_a_prompt_has_the_schedule_weights_and_chunks_that_automatic1111_gives_it(case: dict[str, Any]) -> None:
    prompt = understand(case["prompt"], case["steps"])
    expected = [{"until_step": each["until_step"], "parts": each["parts"]} for each in case["schedule"]]
    assert describe(prompt)["schedule"] == expected
    lengths = [[len(chunk.tokens) for chunk in stretch.chunks] for stretch in prompt.schedule]
    assert lengths == [each["chunk_lengths"] for each in case["schedule"]]
