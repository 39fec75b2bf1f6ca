import json
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gesso.errors import BadRequest
from gesso.prompt.understanding import describe, understand

MANY = 10**5
ANYTHING = st.text(st.characters(exclude_categories=())) | st.text("ab ()[]:|\\.13\nBREAK", max_size=80)


def test_a_listing_shows_the_schedule_and_counts_tokens_and_chunks() -> None:
    assert json.loads(json.dumps(describe(understand("a (house:1.3)", 20)))) == {
        "schedule": [{"until_step": 20, "parts": [["a ", 1.0], ["house", 1.3]]}],
        "tokens": 2,
        "chunks": 1,
    }


def test_a_break_is_listed_with_weight_nought() -> None:
    listing = describe(understand("sun BREAK moon", 20))
    assert json.dumps(listing["schedule"]) == (
        '[{"until_step": 20, "parts": [["sun", 1.0], ["BREAK", 0], ["moon", 1.0]]}]'
    )
    assert (listing["tokens"], listing["chunks"]) == (2, 2)


def test_counts_are_those_of_the_longest_stretch() -> None:
    listing = describe(understand("[sun:one two three BREAK four:0.5]", 20))
    assert (listing["tokens"], listing["chunks"]) == (4, 2)


def test_equal_stretches_that_follow_one_another_are_one() -> None:
    assert [stretch.until_step for stretch in understand("[(sun:1.0)|sun]", 20).schedule] == [20]
    assert [stretch.until_step for stretch in understand("[sun|sun|moon]", 6).schedule] == [2, 3, 5, 6]


def test_scheduled_text_is_weighed_where_it_comes_to_stand() -> None:
    first, second = understand("([sun:[moon]:4]:1.2)", 10).schedule
    assert first.parts == (("sun", 1.2),)
    assert second.parts == (("moon", 1 / 1.1 * 1.2),)


@pytest.mark.parametrize("text", ["cats AND dogs", "a cat <lora:film:0.8>"])
def test_other_syntax_is_text(text: str) -> None:
    (stretch,) = understand(text, 20).schedule
    assert stretch.parts == ((text, 1.0),)


def test_the_prompt_keeps_its_text() -> None:
    assert understand("[a:b:3]", 20).text == "[a:b:3]"


def test_a_prompt_beyond_the_limit_is_refused_with_its_length_and_the_limit() -> None:
    assert understand("a" * 20_000, 20).text
    with pytest.raises(
        BadRequest, match="negative_prompt: it has 20001 characters; at most 20000 are allowed"
    ) as error:
        understand("a" * 20_001, 20, parameter="negative_prompt")
    (problem,) = error.value.problems
    assert (problem.parameter, problem.value) == ("negative_prompt", "a" * 40 + "...")


def test_the_limit_can_be_set() -> None:
    with pytest.raises(BadRequest, match="at most 3 are allowed"):
        understand("four", 20, limit=3)


@pytest.mark.parametrize(
    "text", ["(sun:1e999)", "(sun:nan)", "(sun:-inf)", f"(sun:{'9' * 400})", "(" * 8_000 + "sun", "[a:(sun:inf):0.5]"]
)
def test_a_weight_that_is_not_finite_is_refused_with_its_words(text: str) -> None:
    with pytest.raises(BadRequest, match=r"prompt: the weight of 'sun' comes to (-?inf|nan)") as error:
        understand(text, 20)
    assert error.value.problems[0].value in {"inf", "-inf", "nan"}


def test_a_lone_surrogate_is_read_as_the_replacement_character() -> None:
    (stretch,) = understand("sun \ud800 \ud83d\ude00", 20).schedule
    assert stretch.parts == (("sun \ufffd \U0001f600", 1.0),)


@given(ANYTHING, st.integers(1, 6))
@example("\\\n[|]", 3)
def test_any_text_is_understood_or_refused_for_a_number(text: str, steps: int) -> None:
    with suppress(BadRequest):
        prompt = understand(text, steps)
        assert prompt.schedule[-1].until_step == steps
        assert all(stretch.chunks for stretch in prompt.schedule)


@pytest.mark.parametrize("unit", ["(", "[", ")", "]", "()", "[]", ")(", "([)]", "(()", "[[]", "])"])
def test_a_hundred_thousand_brackets_are_read_in_a_tenth_of_a_second(unit: str) -> None:
    brackets = (unit * MANY)[:MANY]
    assert seconds(lambda: read(brackets, 100, MANY)) < 0.1


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("[", "]"), ("([", "])")])
def test_a_hundred_thousand_brackets_around_one_another_are_read_in_a_tenth_of_a_second(
    opening: str, closing: str
) -> None:
    pairs = MANY // len(opening + closing)
    assert seconds(lambda: read(opening * pairs + closing * pairs, 100, MANY)) < 0.1


@pytest.mark.parametrize(
    "unit",
    ["(a[a", "[a|", "[a|b]", "[|]", "[a:3]", "[a:b:", "(a:1.1", "(]", "[)", ": ", "BREAK ", "\\", "|", "1", "a\u0301"],
)
def test_time_grows_with_the_length_and_not_with_its_square(unit: str) -> None:
    short, long = (unit * (length // len(unit)) for length in (5_000, 20_000))
    allowed = 10 * max(seconds(lambda: read(short)), 1e-3)
    assert seconds(lambda: read(long)) < allowed


@pytest.mark.parametrize("text", ["[|]" * 6_000, "[a|]" * 5_000, "[a|b]" + "()" * 9_000, "[[a|b]:[c|d]:50]" * 1_200])
def test_time_does_not_grow_with_the_steps_where_texts_come_back(text: str) -> None:
    allowed = 10 * max(seconds(lambda: read(text, 4)), 1e-3)
    assert seconds(lambda: read(text, 400)) < allowed


def test_a_choice_in_a_choice_in_a_choice_may_go_on_without_end() -> None:
    deep = 5_000
    first, second, *_ = understand("[" * deep + "a" + "|b]" * deep, 20, limit=MANY).schedule
    assert (first.parts, second.parts) == ((("a", 1.0),), (("b", 1.0),))


def read(text: str, steps: int = 20, limit: int = 20_000) -> None:
    """Understood, or refused for a weight or a length beyond bounds."""
    with suppress(BadRequest):
        understand(text, steps, limit=limit)


def seconds(work: Callable[[], object]) -> float:
    """Processor time of the best of three, for others work on this machine too."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def test_a_weight_that_no_float32_could_carry_is_refused() -> None:
    assert understand(f"(a:1{'0' * 29})", 20)
    with pytest.raises(BadRequest, match="weight"):
        understand(f"(a:1{'0' * 40})", 20)


def test_a_schedule_of_more_chunks_than_can_be_kept_is_refused() -> None:
    changing = "[" + "|".join(map(str, range(100))) + "]"
    assert len(understand(changing + "a " * 300, 100).schedule) == 100
    with pytest.raises(BadRequest, match="it is more than 512 chunks of 75 tokens over its schedule"):
        understand(changing + "a " * 600, 100)


def test_chunks_of_a_text_that_comes_back_count_once() -> None:
    prompt = understand("[sun|moon] " + "a " * 900, 100)
    assert len(prompt.schedule) == 100
    assert len(prompt.schedule[0].chunks) == 13


def test_a_schedule_of_more_characters_than_can_be_read_is_refused_before_they_are() -> None:
    changing = "[" + "|".join(map(str, range(100))) + "]"
    with pytest.raises(BadRequest, match="it is more than 400000 characters over its schedule"):
        understand(changing + "()" * 9_000, 100)
