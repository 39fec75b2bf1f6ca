from hypothesis import given
from hypothesis import strategies as st

from gesso.prompt import tokenizer
from gesso.prompt.attention import BREAK, Part, weigh
from gesso.prompt.chunks import Chunk, split

PARTS = st.lists(
    st.builds(Part, st.text("cat ,", max_size=120), st.sampled_from([1.0, 1.1, 0.5])) | st.just(BREAK), max_size=12
)


def lengths(text: str) -> list[int]:
    return [len(chunk.tokens) for chunk in split(weigh(text))]


def test_an_empty_prompt_is_one_empty_chunk() -> None:
    assert split(weigh("")) == (Chunk((), ()),)


def test_every_token_has_the_weight_of_its_part() -> None:
    (chunk,) = split([Part("a blue", 1.0), Part("house", 1.3)])
    assert chunk == Chunk(tuple(tokenizer.encode("a blue house")), (1.0, 1.0, 1.3))


def test_seventy_five_tokens_fill_a_chunk_and_the_next_begins_another() -> None:
    assert lengths("cat " * 75) == [75]
    assert lengths("cat " * 76) == [75, 1]


def test_a_part_may_go_on_in_the_next_chunk_with_its_weight() -> None:
    first, second = split(weigh("cat " * 70 + "(dog dog dog dog dog dog dog:1.2)"))
    assert first.weights == (1.0,) * 70 + (1.2,) * 5
    assert second.weights == (1.2,) * 2


def test_a_chunk_ends_at_a_comma_among_its_last_twenty_tokens() -> None:
    assert lengths("cat " * 60 + ", " + "dog " * 20) == [61, 20]


def test_a_comma_further_back_does_not_end_a_chunk() -> None:
    assert lengths("cat " * 54 + ", " + "dog " * 30) == [75, 10]


def test_a_comma_that_comes_when_the_chunk_is_full_begins_the_next() -> None:
    assert lengths("cat " * 70 + ", cat cat cat cat , dog") == [75, 2]


def test_break_begins_the_next_chunk_at_once() -> None:
    assert lengths("a cat BREAK a dog") == [2, 2]


def test_every_break_ends_a_chunk_be_it_empty() -> None:
    assert lengths("BREAK a cat BREAK BREAK a dog BREAK") == [0, 2, 0, 2]


@given(PARTS)
def test_chunks_hold_all_tokens_in_order_and_no_more_than_fit(parts: list[Part]) -> None:
    chunks = split(parts)
    words = [part for part in parts if part is not BREAK]
    expected = [(token, part.weight) for part in words for token in tokenizer.encode(part.text)]
    assert [pair for chunk in chunks for pair in zip(chunk.tokens, chunk.weights, strict=True)] == expected
    assert all(len(chunk.tokens) <= 75 for chunk in chunks)
