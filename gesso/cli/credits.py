"""`gesso credits`: what accounts have to spend, what became of it, and whether the books are right."""

import csv
import sys
from typing import Literal

from cyclopts import App

from gesso.accounts import ledger, statement
from gesso.accounts.accounts import Account, Accounts
from gesso.accounts.credit import credits_of, credits_text, parse_credits
from gesso.accounts.statement import Day, Discrepancy
from gesso.cli.accounts import balance_text
from gesso.cli.database import with_database
from gesso.cli.listing import show
from gesso.errors import Conflict
from gesso.storage.database import Database

credits = App(name="credits", help="What accounts have to spend.")


@credits.command
def add(account: str, amount: str, /, *, free: bool = False, note: str | None = None) -> None:
    """Give an account credits.

    Args:
        account: Who gets them.
        amount: How many; a negative number takes them back.
        free: They are given, not bought: counted apart, and spent first.
        note: Why, for the books.
    """
    micro = parse_credits(amount)

    async def give(database: Database) -> Account:
        found = await Accounts(database).find(account)
        await database.write(lambda connection: ledger.grant(connection, found.id, micro, free=free, note=note))
        return await Accounts(database).find(account)

    print(f"{account} has {balance_text(with_database(give))} credits.")


@credits.command(name="show")
def show_one(account: str, /, *, json: bool = False) -> None:
    """What an account has to spend.

    Args:
        account: Which one.
        json: Print JSON.
    """
    found = with_database(lambda database: Accounts(database).find(account))
    row = {
        "name": found.name,
        "credits": credits_of(found.balance_micro),
        "free_credits": credits_of(found.free_micro),
        "unlimited": found.unlimited,
    }
    show([row], json)


@credits.command(name="statement")
def tell(account: str, /, *, form: Literal["table", "json", "csv"] = "table") -> None:
    """What was given, charged and held on each day (UTC), and what was left at its end.

    Args:
        account: Which one.
        form: How it is printed.
    """

    async def read(database: Database) -> list[Day]:
        found = await Accounts(database).find(account)
        return await database.read(lambda connection: statement.statement(connection, found.id))

    rows = [_row(day) for day in with_database(read)]
    if form == "csv":
        writer = csv.DictWriter(sys.stdout, [*COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        show(rows, form == "json")


@credits.command
def reconcile(*, repair: bool = False) -> None:
    """Hold every balance against its entries; the exit status is 1 where something is wrong, and stays so.

    Args:
        repair: Set such a balance to what its entries add up to, and release reservations that no job holds.
    """

    async def look(database: Database) -> tuple[list[Discrepancy], list[str], int]:
        forgotten = await database.read(statement.forgotten_reservations)
        found = await (database.write(statement.repair) if repair else database.read(statement.discrepancies))
        return found, forgotten, len(await Accounts(database).all())

    found, forgotten, accounts = with_database(look)
    wrong = len(found) + len(forgotten)
    for sentence in [*(one.sentence for one in found), *(_forgotten(job) for job in forgotten)]:
        print(sentence)
    if wrong and repair:
        print("That is mended.")
    elif wrong:
        raise Conflict(f"{wrong} things are wrong; gesso credits reconcile --repair mends them.")
    else:
        print(f"{accounts} balances are what their entries add up to.")


COLUMNS = ("day", "bought", "free", "jobs", "charged", "held", "balance", "balance_free")


def _row(day: Day) -> dict[str, object]:
    """Credits as text, so that no program that reads them rounds them."""
    amounts = (day.charged, day.held, day.balance, day.balance_free)
    cells = (day.day.isoformat(), *map(credits_text, (day.bought, day.free)), day.jobs, *map(credits_text, amounts))
    return dict(zip(COLUMNS, cells, strict=True))


def _forgotten(job: str) -> str:
    return f"The reservation of job {job} is neither charged nor released, and no server works on it."
