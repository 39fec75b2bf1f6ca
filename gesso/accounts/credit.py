"""Credits as people read them and as the ledger counts them: whole micro-credits, a million to the credit."""

from typing import Final

MICRO_PER_CREDIT: Final = 1_000_000

UNLIMITED_MICRO: Final = 999_999_999 * MICRO_PER_CREDIT
"""What an account without limit is said to have: clients want a finite number."""


def credits_of(micro: int) -> float:
    """Micro-credits as a decimal number of credits, for JSON and headers."""
    return micro / MICRO_PER_CREDIT


def credits_text(micro: int) -> str:
    """Micro-credits as exact decimal credits without trailing zeros: 8000 is `0.008`."""
    raise NotImplementedError


def parse_credits(text: str) -> int:
    """Decimal credits as micro-credits. Raises BadRequest for anything else, or finer than a micro-credit."""
    raise NotImplementedError
