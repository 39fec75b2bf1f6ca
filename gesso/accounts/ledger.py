"""Who pays: an append-only ledger of whole micro-credits.

`grant` gives credits; a job `reserve`s before its work, then `capture`s what was delivered and `release`s the rest. There is at most one entry
per job and kind, so doing a thing twice is doing it once. Each function acts in the transaction it is given, beside whatever else must hold with it.
"""

from sqlalchemy.ext.asyncio import AsyncConnection


async def grant(connection: AsyncConnection, account_id: int, micro: int) -> int:
    """Give credits, or take them back where `micro` is negative; returns the new balance. Raises InsufficientCredits below zero."""
    raise NotImplementedError


async def reserve(connection: AsyncConnection, account_id: int, job_id: str, micro: int) -> None:
    """Set `micro` aside for a job. Raises InsufficientCredits, saying balance and cost in credits."""
    raise NotImplementedError


async def settle(connection: AsyncConnection, job_id: str, delivered_micro: int) -> None:
    """Capture `delivered_micro` of the job's reservation and release the rest; nothing for a job that reserved nothing or is settled."""
    raise NotImplementedError


async def balance(connection: AsyncConnection, account_id: int) -> int:
    """What the account has left, in micro-credits; UNLIMITED_MICRO without limit."""
    raise NotImplementedError


async def discrepancies(connection: AsyncConnection) -> list[str]:
    """A sentence for every account whose balance is not the sum of its entries; none while all is well."""
    raise NotImplementedError
