"""The tokenizer gives what the transformers library's does with the same vocabulary."""

from functools import cache
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from gesso.prompt import tokenizer


@cache
def reference() -> CLIPTokenizer:
    folder = files("gesso.prompt") / "clip_vocabulary"
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


def expected(text: str) -> list[int]:
    ids: list[int] = reference()(text, add_special_tokens=False).input_ids
    return ids


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n ",
        "a photo of a cat",
        "A  PHOTO\n\tof a Cat",
        "it's they're we've I'm you'll he'd don't IT'S",
        "32k, 16k, 8k, 4k, UHD, HDR, 20 yo, 1950s",
        "(((brackets))) [[square]] {curly} :: // -- ...",
        "hyperrealistic,cinematic;lighting!?",
        "caf\u00e9 cafe\u0301 na\u00efve \u00c5ngstr\u00f6m \ufb01ne \u0130stanbul stra\u00dfe",
        "\u65e5\u672c\u306e\u98a8\u666f \ud55c\uad6d\uc5b4 \u4e2d\u6587, \u0420\u0443\u0441\u0441\u043a\u0438\u0439",
        "\u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22",
        "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
        "\u00a0\u2003\u3000\u200b\ufeff\x00\x1f\x7f\uffff\U0010ffff",
        "<|startoftext|> <|endoftext|>text <|EndOfText|> <|pad|>",
        "supercalifragilisticexpialidocious" * 20,
        "\u00b2\u00bd\u2167 \u0661\u0662\u0663",
    ],
)
def test_tokens_are_those_of_the_reference(text: str) -> None:
    assert tokenizer.encode(text) == expected(text)


@given(st.text())
def test_tokens_are_those_of_the_reference_for_any_text(text: str) -> None:
    assert tokenizer.encode(text) == expected(text)


def test_the_comma_is_the_vocabulary_s_comma_at_the_end_of_a_word() -> None:
    assert reference().get_vocab()[",</w>"] == tokenizer.COMMA
    assert tokenizer.encode("sun, moon")[1] == tokenizer.COMMA
