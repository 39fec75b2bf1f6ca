"""Who pays: an append-only ledger of whole micro-credits.

`grant` gives credits, bought ones or free; a job `reserve`s before its work, then `capture`s what was delivered, or
`release`s everything. There is at most one entry per job and kind, so doing a thing twice is doing it once. An
account's balance column is kept beside its entries, refuses to go below zero, and equals grants - reservations +
releases at any time. Free credits are a part of the balance with a column of their own; they are spent first, and what
is released goes back to where it came from.

Each function acts in the transaction it is given, together with whatever else must hold when it does. What an account
without limit spends is written down like any other's; it is only never refused.
"""

from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import Connection, RowMapping, and_, bindparam, insert, or_, select, update

from gesso.accounts.credit import MOST_MICRO, UNLIMITED_MICRO, credits_text
from gesso.errors import BadRequest, InsufficientCredits, NotFound
from gesso.storage.tables import accounts, ledger_entries

Kind = Literal["grant", "reserve", "capture", "release"]

LONGEST_NOTE: Final = 200

# What every request does is built once: building a statement takes longer than executing it.
_MINE: Final = accounts.c.id == bindparam("account")
_MOVED: Final = accounts.c.balance_micro + bindparam("micro")
_FREE_MOVED: Final = accounts.c.free_micro + bindparam("free")
_COVERED: Final = or_(accounts.c.unlimited, and_(_MOVED >= 0, _FREE_MOVED <= _MOVED))
_MOVE: Final = (
    update(accounts).where(_MINE, _COVERED, _FREE_MOVED >= 0).values(balance_micro=_MOVED, free_micro=_FREE_MOVED)
)
_BALANCE: Final = select(accounts.c.unlimited, accounts.c.balance_micro, accounts.c.free_micro).where(_MINE)
_ENTRIES: Final = select(ledger_entries).where(ledger_entries.c.job_id == bindparam("job"))


def grant(connection: Connection, account_id: int, micro: int, *, free: bool = False, note: str | None = None) -> None:
    """Give credits, or take some back where `micro` is negative; free ones are counted apart. `note`: why.

    Raises InsufficientCredits rather than go below zero, BadRequest beyond 999,999,999 credits, NotFound.
    """
    if note is not None and (len(note) > LONGEST_NOTE or not note.isprintable()):
        raise BadRequest(f"A note has {LONGEST_NOTE} printable characters at most.")
    if abs(micro) > MOST_MICRO:
        raise BadRequest(f"{credits_text(micro)} credits: at most {credits_text(MOST_MICRO)} are given at once.")
    of_it_free = micro if free else 0
    _move(connection, account_id, micro, of_it_free)
    _record(connection, account_id, None, "grant", micro, of_it_free, note)


def reserve(connection: Connection, account_id: int, job_id: str, micro: int) -> None:
    """Set `micro` aside for a job. Raises InsufficientCredits, saying balance and cost in credits."""
    if "reserve" in _entries(connection, job_id):
        return
    free = min(micro, _account(connection, account_id)["free_micro"])
    _move(connection, account_id, -micro, -free)
    _record(connection, account_id, job_id, "reserve", micro, free)


def capture(connection: Connection, job_id: str, micro: int) -> None:
    """Charge `micro` of what the job reserved, free credits first, and release the rest.

    Nothing happens to a job that was captured or released before, or that reserved nothing.
    """
    entries = _entries(connection, job_id)
    if "reserve" not in entries or "capture" in entries or "release" in entries:
        return
    reservation = entries["reserve"]
    account_id, reserved, free = (reservation[name] for name in ("account_id", "amount_micro", "free_micro"))
    if not 0 <= micro <= reserved:
        raise ValueError(f"job {job_id} reserved {reserved} micro-credits, {micro} cannot be captured")
    spent_free = min(micro, free)
    if micro:
        _record(connection, account_id, job_id, "capture", micro, spent_free)
    if micro < reserved:
        _move(connection, account_id, reserved - micro, free - spent_free)
        _record(connection, account_id, job_id, "release", reserved - micro, free - spent_free)


def release(connection: Connection, job_id: str) -> None:
    """Give back all that the job reserved. Nothing happens to a job that was captured or released before."""
    capture(connection, job_id, 0)


def balance(connection: Connection, account_id: int) -> int:
    """What the account has left, in micro-credits; UNLIMITED_MICRO without limit. Raises NotFound."""
    account = _account(connection, account_id)
    return UNLIMITED_MICRO if account["unlimited"] else int(account["balance_micro"])


def _account(connection: Connection, account_id: int) -> RowMapping:
    row = connection.execute(_BALANCE, {"account": account_id}).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    return row


def _move(connection: Connection, account_id: int, micro: int, free: int) -> None:
    """Change the balance, unless that would take it below zero: one statement, so no other can come between."""
    changed = connection.execute(_MOVE, {"account": account_id, "micro": micro, "free": free})
    if changed.rowcount == 0:
        account = _account(connection, account_id)
        left, given = account["balance_micro"], account["free_micro"]
        if free == micro:
            what = f"{credits_text(given)} free credits"
        elif given and not free:
            what = f"{credits_text(left - given)} bought credits"
        else:
            what = f"{credits_text(left)} credits"
        raise InsufficientCredits(f"The balance of {what} does not cover the {credits_text(-micro)} credits needed.")


def _entries(connection: Connection, job_id: str) -> dict[str, RowMapping]:
    """The job's entries by kind."""
    rows = connection.execute(_ENTRIES, {"job": job_id})
    return {row["kind"]: row for row in rows.mappings()}


def _record(
    connection: Connection,
    account_id: int,
    job_id: str | None,
    kind: Kind,
    micro: int,
    free: int,
    note: str | None = None,
) -> None:
    entry = {"account_id": account_id, "job_id": job_id, "kind": kind, "amount_micro": micro, "free_micro": free}
    connection.execute(insert(ledger_entries), entry | {"note": note, "created": datetime.now(UTC)})
