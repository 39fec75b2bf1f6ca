"""How many requests over time: rates as people write them."""

import re
from typing import Final

from limits import RateLimitItem, parse

from gesso.errors import BadRequest

RATE_FORM: Final = re.compile(
    r"[1-9]\d{0,5} ?(/|per) ?([1-9]\d{0,2} ?)?(second|minute|hour|day|month|year)s?", re.ASCII | re.IGNORECASE
)
"""One rate above zero. `limits` reads more: of several it takes the first, and `2/0 minutes` it takes for 2/minute."""


def check_rate(rate: str | None) -> None:
    """Raises BadRequest for what is no rate."""
    if rate is not None:
        read_rate(rate)


def read_rate(rate: str) -> RateLimitItem:
    """`2/minute`, `100 per 5 minutes`; at most 999,999 requests. Raises BadRequest for what is no rate."""
    if not RATE_FORM.fullmatch(rate):
        raise BadRequest(f"{rate!r} is not a rate; one is written 60/minute, or 100/5 minutes.")
    return parse(rate)
