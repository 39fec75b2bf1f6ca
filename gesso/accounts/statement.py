"""What the ledger adds up to: an account's statement by day, and whether balances are what their entries say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, case, func, literal, select, update

from gesso.accounts import ledger
from gesso.accounts.credit import credits_text
from gesso.errors import Conflict, NotFound
from gesso.storage.tables import accounts, jobs, ledger_entries

_KIND: Final = ledger_entries.c.kind
_AMOUNT: Final = ledger_entries.c.amount_micro
_FREE: Final = ledger_entries.c.free_micro
_IS_GRANT: Final = _KIND == "grant"


@dataclass(frozen=True, slots=True)
class Day:
    """An account's day, in UTC and micro-credits.

    `bought` and `free`: what was given; `charged`: what `jobs` delivered jobs cost; `held`: what was set aside and
    neither charged nor released when the day ended. `balance` at its end; of that `balance_free` are free credits.
    """

    day: date
    bought: int
    free: int
    jobs: int
    charged: int
    held: int
    balance: int
    balance_free: int


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """An account whose balance is not what its entries add up to."""

    account_id: int
    account_name: str
    unlimited: bool
    balance: int
    balance_free: int
    entries: int
    entries_free: int

    @property
    def sentence(self) -> str:
        """For whoever keeps the books."""
        return (
            f"Account {self.account_name!r} has {credits_text(self.balance)} credits,"
            f" {credits_text(self.balance_free)} of them free, but its entries add up to"
            f" {credits_text(self.entries)}, {credits_text(self.entries_free)} of them free."
        )


def statement(connection: Connection, account_id: int) -> list[Day]:
    """The days on which something happened, oldest first. Raises NotFound."""
    if connection.scalar(select(accounts.c.id).where(accounts.c.id == account_id)) is None:
        raise NotFound(f"There is no account {account_id}.")
    day = func.date(ledger_entries.c.created)
    sums = (
        _sum_of(_IS_GRANT, _AMOUNT - _FREE).label("bought"),
        _sum_of(_IS_GRANT, _FREE).label("free"),
        _sum_of(_KIND == "capture", literal(1)).label("jobs"),
        _sum_of(_KIND == "capture", _AMOUNT).label("charged"),
        _sum_of(_KIND == "reserve", _AMOUNT).label("reserved"),
        _sum_of(_KIND == "release", _AMOUNT).label("released"),
        func.sum(_effect(_FREE)).label("moved_free"),
    )
    query = select(day.label("day"), *sums).where(ledger_entries.c.account_id == account_id).group_by(day)
    return list(_days(connection.execute(query.order_by(day)).all()))


def discrepancies(connection: Connection) -> list[Discrepancy]:
    """Every account whose balance is not what its entries add up to; none while all is well."""
    total, free = (func.coalesce(func.sum(_effect(part)), 0) for part in (_AMOUNT, _FREE))
    known = accounts.c.id, accounts.c.name, accounts.c.unlimited, accounts.c.balance_micro, accounts.c.free_micro
    query = select(*known, total, free).outerjoin_from(accounts, ledger_entries).group_by(*known).order_by(known[0])
    found = (Discrepancy(id, name, free, *map(int, sums)) for id, name, free, *sums in connection.execute(query))
    return [one for one in found if (one.balance, one.balance_free) != (one.entries, one.entries_free)]


def repair(connection: Connection) -> list[Discrepancy]:
    """Entries are never changed: balances become what these say, and reservations that no job holds are released.

    Returns the balances that differed. Raises Conflict where an account with a limit has spent more than it was given:
    then nothing is changed.
    """
    for job_id in forgotten_reservations(connection):
        ledger.release(connection, job_id)
    found = discrepancies(connection)
    for one in found:
        if not one.unlimited and not 0 <= one.entries_free <= one.entries:
            raise Conflict(f"{one.sentence} It cannot be so; give it credits first.")
        values = {"balance_micro": one.entries, "free_micro": one.entries_free}
        connection.execute(update(accounts).where(accounts.c.id == one.account_id).values(values))
    return found


def forgotten_reservations(connection: Connection) -> list[str]:
    """Jobs that ended, or are not there, and whose reservation was neither charged nor released."""
    settled = select(ledger_entries.c.job_id).where(_KIND.in_(("capture", "release")))
    alive = select(jobs.c.id).where(jobs.c.status.in_(("queued", "running")))
    name = ledger_entries.c.job_id
    query = select(name).where(_KIND == "reserve", ledger_entries.c.amount_micro > 0)
    return list(connection.scalars(query.where(name.not_in(settled), name.not_in(alive)).order_by(name)))


def _effect(part: ColumnElement[int]) -> ColumnElement[int]:
    """What an entry does to the balance: a capture nothing, as its credits were taken by the reservation."""
    return case((_KIND == "reserve", -part), (_KIND == "capture", 0), else_=part)


def _sum_of(condition: ColumnElement[bool], part: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, part), else_=0)), 0)


def _days(rows: Iterable[Row[Any]]) -> Iterator[Day]:
    held = balance = balance_free = 0
    for row in rows:
        bought, free, charged, reserved, released = map(
            int, (row.bought, row.free, row.charged, row.reserved, row.released)
        )
        held += reserved - released - charged
        balance += bought + free - reserved + released
        balance_free += int(row.moved_free)
        day = date.fromisoformat(str(row.day))
        yield Day(day, bought, free, int(row.jobs), charged, held, balance, balance_free)
