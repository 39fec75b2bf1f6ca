"""`gesso prompt`, in this process: what it prints and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gesso.cli.prompt import prompt
from gesso.errors import BadRequest

Show = Callable[..., list[str]]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Show:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GESSO_PROMPT_LIMIT", raising=False)

    def show(text: str, steps: str = "20", *, json: bool = False) -> list[str]:
        prompt(text, steps=steps, json=json)
        return capsys.readouterr().out.splitlines()

    return show


def test_words_are_shown_with_their_weight_and_counted(shown: Show) -> None:
    assert shown("a (red:1.3) boat") == [
        "   1.000  'a '",
        "   1.300  'red'",
        "   1.000  ' boat'",
        "3 tokens in 1 chunk(s) of 75",
    ]


def test_steps_of_one_meaning_are_shown_together(shown: Show) -> None:
    assert shown("[sun:moon:0.5]") == [
        "steps 1 to 10:",
        "   1.000  'sun'",
        "steps 11 to 20:",
        "   1.000  'moon'",
        "at most 1 tokens in 1 chunk(s) of 75",
    ]
    assert [line for line in shown("[a|b|b]", "7") if "step" in line] == ["steps 1, 4, 7:", "steps 2 to 3, 5 to 6:"]
    assert [line for line in shown("[a:b:1]", "2") if "step" in line] == ["step 1:", "step 2:"]


def test_a_hundred_steps_of_turns_are_a_line_for_each_text(shown: Show) -> None:
    said = [line for line in shown("[sun|moon|]", "100") if "step" in line]
    assert said == ["steps 1, 4, 7, ... 100:", "steps 2, 5, 8, ... 98:", "steps 3, 6, 9, ... 99:"]


def test_steps_without_a_pattern_are_all_told(shown: Show) -> None:
    first, _ = (line for line in shown("[a|b|a|a|b]") if "step" in line)
    assert first == "steps 1, 3 to 4, 6, 8 to 9, 11, 13 to 14, 16, 18 to 19:"


def test_a_break_is_shown(shown: Show) -> None:
    assert shown("a BREAK b")[1] == "   BREAK"
    assert shown(r"(B\REAK:0)")[0] == "   0.000  'BREAK'"


def test_json_is_the_listing(shown: Show) -> None:
    (line,) = shown("[sun:moon:10] (B:1.3) BREAK c", json=True)
    assert json.loads(line) == {
        "schedule": [
            {"until_step": 10, "parts": [["sun ", 1.0], ["B", 1.3], ["", 1.0], ["BREAK", 0], ["c", 1.0]]},
            {"until_step": 20, "parts": [["moon ", 1.0], ["B", 1.3], ["", 1.0], ["BREAK", 0], ["c", 1.0]]},
        ],
        "tokens": 3,
        "chunks": 2,
        "loras": [],
    }


def test_loras_are_told_apart_from_the_words(shown: Show) -> None:
    text = "a <lora:film:0.5>boat<lora:ink:0.25:1><lora:film:0.25>"
    assert shown(text) == [
        "   1.000  'a boat'",
        "2 tokens in 1 chunk(s) of 75",
        "LoRA film at 0.75",
        "LoRA ink at 0.25 in the text encoders, 1 in the UNet",
    ]
    (line,) = shown(text, json=True)
    assert json.loads(line)["loras"] == [
        {"name": "film", "text_encoders": 0.75, "unet": 0.75},
        {"name": "ink", "text_encoders": 0.25, "unet": 1.0},
    ]


@pytest.mark.parametrize("steps", ["1", "100", "1000"])
def test_steps_are_one_to_a_thousand(steps: str, shown: Show) -> None:
    (line,) = shown("[a:b:0.5]", steps, json=True)
    assert json.loads(line)["schedule"][-1]["until_step"] == int(steps)


@pytest.mark.parametrize("steps", ["0", "-3", "1.5", "1001", "many", "", "1e3", "\u0663", "9" * 5000])
def test_any_other_number_of_steps_is_refused_with_what_is_allowed(steps: str, shown: Show) -> None:
    with pytest.raises(BadRequest, match=r"steps: .* is not a whole number from 1 to 1000") as refusal:
        shown("a cat", steps)
    assert len(refusal.value.sentence) < 120


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("(sun:1e999)", "prompt: the weight of 'sun' comes to inf; a finite number such as 1.3 is allowed"),
        ("[a:b:1e999]", "prompt: the schedule's number 1e999 is too large; a step or a share of the steps is allowed"),
        (
            "<lora:film:x>",
            "prompt: <lora:film:x>: the weight 'x' is not a number; allowed is a number from -4 to 4",
        ),
        ("a" * 20_001, "prompt: it has 20001 characters; at most 20000 are allowed"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_sentence(text: str, sentence: str, shown: Show) -> None:
    with pytest.raises(BadRequest) as refusal:
        shown(text)
    assert refusal.value.sentence == sentence
