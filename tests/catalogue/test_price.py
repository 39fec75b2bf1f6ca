from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from gesso.catalogue.price import Price

MEASURES = st.none() | st.integers(1, 5_000_000)


def test_a_flat_price_is_every_images() -> None:
    assert Price(8000).of(20, 512 * 512) == Price(8000).of(100, 2048 * 2048) == 8000


def test_the_image_that_a_price_is_for_costs_just_that() -> None:
    assert Price(8000, steps=25, pixels=1024 * 1024).of(25, 1024 * 1024) == 8000


def test_steps_and_pixels_count_in_proportion_each_by_itself() -> None:
    assert Price(8000, steps=25).of(100, 512 * 512) == 32_000
    assert Price(8000, pixels=1024 * 1024).of(100, 512 * 512) == 2000
    assert Price(8000, steps=25, pixels=1024 * 1024).of(50, 2048 * 2048) == 64_000


def test_halves_are_rounded_up() -> None:
    assert [Price(1, steps=4).of(steps, 1) for steps in (4, 5, 6, 7, 8, 9, 10)] == [1, 1, 2, 2, 2, 2, 3]


def test_the_least_price_is_one_microcredit_but_what_is_free_stays_free() -> None:
    assert Price(1, steps=100, pixels=1024 * 1024).of(1, 64) == 1
    assert Price(0, steps=1, pixels=1).of(100, 2048 * 2048) == 0


@given(st.integers(0, 10**12), MEASURES, MEASURES, st.integers(1, 1000), st.integers(1, 2048 * 2048))
def test_a_price_is_exact_up_to_its_rounding(
    microcredits: int, priced_steps: int | None, priced_pixels: int | None, steps: int, pixels: int
) -> None:
    exact = Fraction(microcredits) * Fraction(steps, priced_steps or steps) * Fraction(pixels, priced_pixels or pixels)
    price = Price(microcredits, priced_steps, priced_pixels).of(steps, pixels)
    assert price == max(floor(exact + Fraction(1, 2)), 1 if microcredits else 0)
