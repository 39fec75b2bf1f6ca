import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.errors import BadRequest
from gesso.prompt.schedule import texts

PIECES = st.sampled_from(["a", " ", "[", "]", "(", ")", ":", "|", "\\", "3", ".5", "[b:2]", "[c|d]", "[e:f:0.5]", "\n"])


def read(text: str, steps: int = 10) -> list[tuple[int, str]]:
    return texts(text, steps, "prompt")


def test_a_text_gives_way_to_another_after_a_step() -> None:
    assert read("a [sun:moon:4]!") == [(4, "a sun!"), (10, "a moon!")]


def test_a_text_comes_after_a_step_or_goes_after_it() -> None:
    assert read("sky[ with sun:4]") == [(4, "sky"), (10, "sky with sun")]
    assert read("sky[ with sun::4]") == [(4, "sky with sun"), (10, "sky")]


@pytest.mark.parametrize(("number", "last"), [("0.4", 4), (".4", 4), ("4", 4), ("0.29", 2), ("4.0e-1", 4), ("4e0", 4)])
def test_a_number_with_a_point_is_a_share_of_the_steps_and_any_other_a_step(number: str, last: int) -> None:
    assert read(f"[sun:moon:{number}]") == [(last, "sun"), (10, "moon")]


@pytest.mark.parametrize("number", ["10", "99", "1.0", "7.5", "1e9"])
def test_a_change_at_or_after_the_end_never_comes(number: str) -> None:
    assert read(f"[sun:moon:{number}]") == [(10, "sun")]


@pytest.mark.parametrize("number", ["0", "0.0", "-3", "-0.5", "0.05", "5e-1"])
def test_a_change_before_the_first_step_has_come_already(number: str) -> None:
    assert read(f"[sun:moon:{number}]") == [(10, "moon")]


def test_white_space_is_allowed_around_the_number() -> None:
    assert read("[sun:moon:\n 4\t]") == [(4, "sun"), (10, "moon")]


def test_options_take_turns_and_may_be_empty() -> None:
    assert [text for _, text in read("[sun|moon|]", 5)] == ["sun", "moon", "", "sun", "moon"]


def test_choices_nest() -> None:
    assert read("[a|[b:c:2]]", 4) == [(1, "a"), (2, "b"), (3, "a"), (4, "c")]
    assert read("[[a|b]:c:2]", 4) == [(1, "a"), (2, "b"), (3, "c"), (4, "c")]


@pytest.mark.parametrize(
    "text",
    ["[bad : wrong]", "[a]", "[a:b:c:3]", "[a:b:]", "[a:b:3e]", "[a:b:3", "[a:(b:3]", "[a:b:\\3]", "[a:b:3 4]"],
)
def test_brackets_without_bar_or_number_stay_for_attention(text: str) -> None:
    assert read(text) == [(10, text)]


@pytest.mark.parametrize("text", ["[a:b:3] | c", "[a|b:3]", "[a|(b]", "([a:b:3]|c)", "[a:b:3] \\", "[a:b:3]\\\n"])
def test_a_loose_bar_or_backslash_makes_the_whole_text_words(text: str) -> None:
    assert read(text) == [(10, text)]


def test_an_escaped_mark_is_a_word() -> None:
    assert read(r"[a\|b\]:c\::3]") == [(3, r"a\|b\]"), (10, r"c\:")]


def test_a_loose_bracket_takes_nothing_from_the_choices_beside_it() -> None:
    assert read("([x [a:b:3]]]:3]") == [(3, "([x a]]:3]"), (10, "([x b]]:3]")]


@pytest.mark.parametrize("number", ["1e999", "9" * 400, "1.7e308"])
def test_a_number_too_large_to_be_one_is_refused_with_the_parameter(number: str) -> None:
    with pytest.raises(BadRequest, match=r"negative_prompt: the schedule's number .* is too large") as refusal:
        texts(f"[a:b:{number}]", 20, "negative_prompt")
    assert len(str(refusal.value)) < 200


@given(st.lists(PIECES, max_size=40).map("".join), st.integers(1, 12))
def test_stretches_follow_one_another_to_the_last_step_and_add_no_words(text: str, steps: int) -> None:
    stretches = texts(text, steps, "prompt")
    ends = [end for end, _ in stretches]
    assert ends == sorted(set(ends))
    assert ends[0] >= 1
    assert ends[-1] == steps
    assert all(len(stretch) <= len(text) for _, stretch in stretches)


@given(st.text(st.characters(exclude_characters="[]|")), st.integers(1, 12))
def test_without_square_brackets_and_bars_a_text_holds_for_the_whole_run(text: str, steps: int) -> None:
    assert texts(text, steps, "prompt") == [(steps, text)]
