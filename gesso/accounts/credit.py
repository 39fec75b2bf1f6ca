"""Credits as people read them and as the ledger counts them: whole micro-credits, a million to the credit."""

from decimal import Decimal, InvalidOperation, Overflow
from typing import Final

from gesso.errors import BadRequest

MICRO_PER_CREDIT: Final = 1_000_000

UNLIMITED_MICRO: Final = 999_999_999 * MICRO_PER_CREDIT
"""What an account without limit is said to have: clients want a finite number."""

MOST_MICRO: Final = UNLIMITED_MICRO
"""The most that is given at once."""


def credits_of(micro: int) -> float:
    """Micro-credits as a decimal number of credits, for JSON and headers."""
    return micro / MICRO_PER_CREDIT


def credits_text(micro: int) -> str:
    """Micro-credits as exact decimal credits without trailing zeros: 8000 is `0.008`."""
    text = f"{Decimal(micro) / MICRO_PER_CREDIT:.6f}"
    return text.rstrip("0").rstrip(".")


def parse_credits(text: str) -> int:
    """Decimal credits as micro-credits.

    Raises BadRequest for what is no number, has more than six decimals, or is beyond 999,999,999.
    """
    try:
        micro = Decimal(text.strip()) * MICRO_PER_CREDIT
        allowed = abs(micro) <= MOST_MICRO and micro == int(micro)
    except (InvalidOperation, Overflow):
        raise BadRequest(f"{text!r} is not a number of credits.") from None
    if not allowed:
        raise BadRequest(f"{text!r} credits: at most {credits_text(MOST_MICRO)}, and six decimals, are allowed.")
    return int(micro)
