import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.accounts.credit import MOST_MICRO, UNLIMITED_MICRO, credits_of, credits_text, parse_credits
from gesso.errors import BadRequest


@pytest.mark.parametrize(
    ("micro", "text"),
    [(8000, "0.008"), (12_300_000, "12.3"), (0, "0"), (1, "0.000001"), (100_000_000, "100"), (-500_000, "-0.5")],
)
def test_credits_are_decimal_numbers_of_a_million_parts(micro: int, text: str) -> None:
    assert credits_text(micro) == text
    assert parse_credits(text) == micro


@given(st.integers(-MOST_MICRO, MOST_MICRO))
def test_no_micro_credit_is_lost_in_writing(micro: int) -> None:
    assert parse_credits(credits_text(micro)) == micro


def test_an_unlimited_account_has_a_plain_finite_number() -> None:
    assert credits_of(UNLIMITED_MICRO) == 999_999_999


@pytest.mark.parametrize(
    "text", ["", "ten", "nan", "inf", "-Infinity", "1e400", "0.0000001", "1000000000", "1,5", "0x10"]
)
def test_what_is_no_amount_of_credits_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="credits"):
        parse_credits(text)
