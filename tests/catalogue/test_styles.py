"""A style puts words around the caller's; an owner's file is taken exactly as worded."""

import json
import re
from pathlib import Path

import pytest

from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.catalogue.entries import Style
from gesso.catalogue.styles import load_styles
from gesso.catalogue.validation import read_request
from gesso.errors import SettingsError
from tests.catalogue.contract import STYLES

SYNTAX = re.compile(r"[()\[\]{}<>|:\\]|\bBREAK\b|\bAND\b")


def test_there_are_the_104_documented_styles_in_order(catalogue: Catalogue) -> None:
    assert list(catalogue.styles) == STYLES
    assert len(set(STYLES)) == 104


def test_no_two_styles_say_the_same(catalogue: Catalogue) -> None:
    styles = catalogue.styles.values()
    assert len({style.prompt for style in styles}) == len({style.negative_prompt for style in styles}) == 104


@pytest.mark.parametrize("name", STYLES)
def test_a_shipped_style_has_one_place_for_the_prompt_and_no_prompt_syntax(catalogue: Catalogue, name: str) -> None:
    style = catalogue.styles[name]
    assert style.prompt.count("{prompt}") == 1
    assert not SYNTAX.search(style.prompt.replace("{prompt}", "") + style.negative_prompt)


def test_base_changes_nothing(catalogue: Catalogue) -> None:
    assert catalogue.styles["base"].apply(" a {prompt} circle ", " x") == (" a {prompt} circle ", " x")


def test_every_other_style_changes_both_texts(catalogue: Catalogue) -> None:
    for style in list(catalogue.styles.values())[1:]:
        positive, negative = style.apply("a red circle", "ugly")
        assert "a red circle" in positive
        assert positive != "a red circle"
        assert negative.endswith(", ugly")


@pytest.mark.parametrize(
    ("name", "words"),
    [("watercolor", "watercolor"), ("pixel art", "pixel art"), ("neonpunk", "neon glow"), ("line art", "line art")],
)
def test_a_style_that_names_a_rendering_says_its_word(catalogue: Catalogue, name: str, words: str) -> None:
    assert words in catalogue.styles[name].prompt


def test_only_the_place_for_the_prompt_is_replaced() -> None:
    style = Style("mine", "{a} {prompt} {0} {{prompt}}", "{b}")
    assert style.apply("x{prompt}y", "") == ("{a} x{prompt}y {0} {x{prompt}y}", "{b}")


@pytest.mark.parametrize(
    ("own", "sent", "joined"),
    [("a", "b", "a, b"), ("a", "", "a"), ("", "b", "b"), ("", "", ""), ("a ", " b", "a ,  b")],
)
def test_the_style_s_negative_text_is_put_before_the_caller_s(own: str, sent: str, joined: str) -> None:
    assert Style("mine", "{prompt}", own).apply("x", sent) == ("x", joined)


def write(path: Path, styles: object) -> Path:
    path.write_text(styles if isinstance(styles, str) else json.dumps(styles), "utf-8")
    return path


def test_an_owner_s_style_goes_before_the_shipped_one_and_others_stay(tmp_path: Path) -> None:
    own = [
        {"name": "anime", "prompt": "MINE {prompt} (soft:1.2), ", "negative_prompt": "  photo "},
        {"name": "sai-anime", "prompt": "{prompt} . key"},
    ]
    catalogue = load_catalogue(styles=write(tmp_path / "styles.json", own))
    assert catalogue.styles["anime"].apply("a cat", "dog") == ("MINE a cat (soft:1.2), ", "  photo , dog")
    assert list(catalogue.styles) == [*STYLES, "sai-anime"]
    request = read_request(catalogue.endpoint("sdxl1.0-txt2img"), {"prompt": "x", "style": "sai-anime"})
    assert request.text("style") == "sai-anime"


def test_a_byte_order_mark_is_no_hindrance(tmp_path: Path) -> None:
    path = write(tmp_path / "styles.json", '\ufeff[{"name": "a", "prompt": "{prompt}"}]')
    assert load_styles(path) == {"a": Style("a", "{prompt}", "")}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("nothing like JSON", "Invalid JSON"),
        ({"name": "a"}, "valid array"),
        ([{"prompt": "{prompt}"}], r"0\.name: is required"),
        ([{"name": "a", "prompt": "{prompt}", "lora": 1}], r"0\.lora: unknown key"),
        ([{"name": "a", "prompt": 5}], r"0\.prompt: Input should be a valid string"),
        ([{"name": "a", "prompt": "words"}], "'a' has no place for {prompt}"),
        ([{"name": "a", "prompt": "{prompt}"}] * 2, "'a' is there twice"),
    ],
)
def test_a_wrong_file_stops_the_start_with_its_name_and_the_cause(
    tmp_path: Path, content: object, sentence: str
) -> None:
    path = write(tmp_path / "mine.json", content)
    with pytest.raises(SettingsError, match=rf"mine\.json.*{sentence}"):
        load_catalogue(styles=path)


def test_a_missing_file_stops_the_start_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.json cannot be read"):
        load_catalogue(styles=tmp_path / "none.json")
