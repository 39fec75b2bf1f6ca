import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gesso.prompt.attention import BREAK, weigh

BRACKETED = st.text(alphabet="ab ()[]:\\.13", max_size=60)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("(word)", [("word", 1.1)]),
        ("((word))", [("word", 1.1 * 1.1)]),
        ("(word:1.3)", [("word", 1.3)]),
        ("((word:1.3))", [("word", 1.3 * 1.1)]),
        ("[word]", [("word", 1 / 1.1)]),
        (r"\(word\) \[word\] \\", [("(word) [word] \\", 1.0)]),
        ("", [("", 1.0)]),
    ],
)
def test_brackets_weigh_and_escapes_take_their_meaning_off(text: str, parts: list[tuple[str, float]]) -> None:
    assert weigh(text) == parts


def test_neighbours_of_equal_weight_are_one_part() -> None:
    assert weigh("(sun)(moon) and (star:1.0)s") == [("sunmoon", 1.1), (" and stars", 1.0)]


@pytest.mark.parametrize("text", ["a (b c", "a [b c", "a (b\\) c"])
def test_a_bracket_that_is_never_closed_weighs_to_the_end(text: str) -> None:
    assert [weight for _, weight in weigh(text)] == [1.0, 1.1 if "(" in text else 1 / 1.1]


def test_a_bracket_that_was_never_opened_is_a_word() -> None:
    assert weigh("a) b] c:1.3)") == [("a) b] c:1.3)", 1.0)]


def test_round_and_square_brackets_may_overlap() -> None:
    assert weigh("(a[b)c]") == [("a", 1.1), ("b", 1.1 * (1 / 1.1)), ("c", 1 / 1.1)]


def test_break_is_a_part_of_its_own_and_takes_the_space_around_it() -> None:
    assert weigh("sun  BREAK\nmoon") == [("sun", 1.0), ("BREAK", 0), ("moon", 1.0)]


def test_break_is_heard_inside_brackets() -> None:
    parts = weigh("(sun BREAK moon:1.2)")
    assert parts == [("sun", 1.2), ("BREAK", 0), ("moon", 1.2)]
    assert parts[1] is BREAK


def test_a_part_that_only_looks_like_a_break_is_none() -> None:
    (part,) = weigh(r"(B\REAK:0)")
    assert part == BREAK
    assert part is not BREAK


@pytest.mark.parametrize("text", ["(a:.)", "(a:1.2.3)", "(a:1e1)", "(a:one)", "(a:\u0131nf)", "(a:1\u00b2)"])
def test_what_follows_a_colon_and_is_no_decimal_number_is_words(text: str) -> None:
    assert weigh(text) == [(text[1:-1], 1.1)]


def test_a_weight_may_be_written_in_any_decimal_digits() -> None:
    assert weigh("(a:\u0661.\u0665)") == [("a", 1.5)]


@pytest.mark.parametrize("number", ["9" * 400, "1e999", "-1e999", "inf", "+Infinity", "nan"])
def test_a_number_that_is_not_finite_is_told_as_such(number: str) -> None:
    ((_, weight),) = weigh(f"(a:{number})")
    assert not math.isfinite(weight)


@given(BRACKETED)
def test_all_words_are_kept_and_only_marks_go(text: str) -> None:
    marks = str.maketrans("", "", "()[]:\\.13")
    assert "".join(part.text for part in weigh(text)).translate(marks) == text.translate(marks)


@given(st.text())
@example("\\\n:1.3)")
def test_any_text_can_be_written_with_escapes(text: str) -> None:
    escaped = "".join(f"\\{character}" if character in r"\()[]:" else character for character in text)
    assert weigh(escaped.replace("BREAK", r"B\REAK")) == [(text, 1.0)]


@given(st.lists(st.sampled_from("(["), max_size=12))
def test_weights_are_the_products_in_the_order_of_closing(brackets: list[str]) -> None:
    closing = "".join({"(": ")", "[": "]"}[bracket] for bracket in reversed(brackets))
    weight = 1.0
    for bracket in reversed(brackets):
        weight *= 1.1 if bracket == "(" else 1 / 1.1
    assert weigh("".join(brackets) + "word" + closing) == [("word", weight)]


@pytest.mark.parametrize("pairs", [9, 100, 20_000])
def test_deep_brackets_that_undo_one_another_leave_the_weight(pairs: int) -> None:
    ((_, weight),) = weigh("([" * pairs + "word" + "])" * pairs)
    assert weight == pytest.approx(1.0, rel=1e-10)


def test_many_round_brackets_leave_the_range_and_many_square_ones_vanish() -> None:
    assert weigh("(" * 20_000 + "word") == [("word", math.inf)]
    assert weigh("[" * 20_000 + "word") == [("word", 0.0)]
    assert weigh("(" * 20_000 + "(word:-1)") == [("word", -math.inf)]
