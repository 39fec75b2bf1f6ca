"""Who pays: an append-only ledger of whole micro-credits.

`grant` gives credits; a job `reserve`s before its work, then `capture`s what was delivered, or `release`s everything.
There is at most one entry per job and kind, so doing a thing twice is doing it once. An account's balance column is
kept beside its entries, refuses to go below zero, and equals grants - reservations + releases at any time.

Each function acts in the transaction it is given, together with whatever else must hold when it does. What an account
without limit spends is written down like any other's; it is only never refused.
"""

from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, bindparam, case, func, insert, or_, select, update

from gesso.accounts.credit import MOST_MICRO, UNLIMITED_MICRO, credits_text
from gesso.errors import BadRequest, InsufficientCredits, NotFound
from gesso.storage.tables import accounts, ledger_entries

Kind = Literal["grant", "reserve", "capture", "release"]

# What every request does is built once: building a statement takes longer than executing it.
_MINE: Final = accounts.c.id == bindparam("account")
_MOVED: Final = accounts.c.balance_micro + bindparam("micro")
_MOVE: Final = update(accounts).where(_MINE, or_(accounts.c.unlimited, _MOVED >= 0)).values(balance_micro=_MOVED)
_BALANCE: Final = select(accounts.c.unlimited, accounts.c.balance_micro).where(_MINE)
_ENTRIES: Final = select(ledger_entries).where(ledger_entries.c.job_id == bindparam("job")).with_for_update()


def grant(connection: Connection, account_id: int, micro: int) -> None:
    """Give credits, or take some back where `micro` is negative.

    Raises InsufficientCredits rather than go below zero, BadRequest beyond 999,999,999 credits, NotFound.
    """
    if abs(micro) > MOST_MICRO:
        raise BadRequest(f"{credits_text(micro)} credits: at most {credits_text(MOST_MICRO)} are given at once.")
    _move(connection, account_id, micro)
    _record(connection, account_id, None, "grant", micro)


def reserve(connection: Connection, account_id: int, job_id: str, micro: int) -> None:
    """Set `micro` aside for a job. Raises InsufficientCredits, saying balance and cost in credits."""
    if "reserve" in _entries(connection, job_id):
        return
    _move(connection, account_id, -micro)
    _record(connection, account_id, job_id, "reserve", micro)


def capture(connection: Connection, job_id: str, micro: int) -> None:
    """Charge `micro` of what the job reserved and release the rest.

    Nothing happens to a job that was captured or released before, or that reserved nothing.
    """
    entries = _entries(connection, job_id)
    if "reserve" not in entries or "capture" in entries or "release" in entries:
        return
    account_id, reserved = entries["reserve"]["account_id"], entries["reserve"]["amount_micro"]
    if not 0 <= micro <= reserved:
        raise ValueError(f"job {job_id} reserved {reserved} micro-credits, {micro} cannot be captured")
    if micro:
        _record(connection, account_id, job_id, "capture", micro)
    if micro < reserved:
        _move(connection, account_id, reserved - micro)
        _record(connection, account_id, job_id, "release", reserved - micro)


def release(connection: Connection, job_id: str) -> None:
    """Give back all that the job reserved. Nothing happens to a job that was captured or released before."""
    capture(connection, job_id, 0)


def balance(connection: Connection, account_id: int) -> int:
    """What the account has left, in micro-credits; UNLIMITED_MICRO without limit. Raises NotFound."""
    row = connection.execute(_BALANCE, {"account": account_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    return UNLIMITED_MICRO if row.unlimited else int(row.balance_micro)


def discrepancies(connection: Connection) -> list[str]:
    """A sentence for every account whose balance is not what its entries add up to; none while all is well."""
    total = func.coalesce(func.sum(_effect()), 0)
    rows = connection.execute(
        select(accounts.c.name, accounts.c.balance_micro, total.label("entries_micro"))
        .outerjoin_from(accounts, ledger_entries)
        .group_by(accounts.c.id, accounts.c.name, accounts.c.balance_micro)
        .having(accounts.c.balance_micro != total)
    )
    return [
        f"Account {row.name!r} has {credits_text(row.balance_micro)} credits,"
        f" but its entries add up to {credits_text(row.entries_micro)}."
        for row in rows
    ]


def _effect() -> ColumnElement[int]:
    """What an entry does to the balance: a capture nothing, as its credits were taken by the reservation."""
    amount, kind = ledger_entries.c.amount_micro, ledger_entries.c.kind
    return case((kind == "reserve", -amount), (kind == "capture", 0), else_=amount)


def _move(connection: Connection, account_id: int, micro: int) -> None:
    """Change the balance, unless that would take it below zero: one statement, so no other can come between."""
    changed = connection.execute(_MOVE, {"account": account_id, "micro": micro})
    if changed.rowcount == 0:
        left = balance(connection, account_id)
        raise InsufficientCredits(
            f"The balance of {credits_text(left)} credits does not cover the {credits_text(-micro)} credits needed."
        )


def _entries(connection: Connection, job_id: str) -> dict[str, RowMapping]:
    """The job's entries by kind."""
    rows = connection.execute(_ENTRIES, {"job": job_id})
    return {row["kind"]: row for row in rows.mappings()}


def _record(connection: Connection, account_id: int, job_id: str | None, kind: Kind, micro: int) -> None:
    entry = {"account_id": account_id, "job_id": job_id, "kind": kind, "amount_micro": micro}
    connection.execute(insert(ledger_entries), entry | {"created": datetime.now(UTC)})
