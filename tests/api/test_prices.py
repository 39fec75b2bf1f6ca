import pytest

from gesso.api.prices import price_text
from gesso.catalogue.price import Price


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (Price(8000), "0.008 credits for one image"),
        (Price(8000, 25), "0.008 credits for one image in 25 steps, in proportion otherwise"),
        (Price(0, None, 512 * 512), "0 credits for one image of 512x512, in proportion otherwise"),
        (
            Price(1_500_000, 30, 1_000_001),
            "1.5 credits for one image of 1000001 pixels in 30 steps, in proportion otherwise",
        ),
    ],
)
def test_a_price_says_which_image_it_is_for(price: Price, text: str) -> None:
    assert price_text(price) == text
