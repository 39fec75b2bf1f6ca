"""`gesso accounts`, `gesso keys`, `gesso credits`: who may ask, and what they have to spend.

What is changed here holds in a running server at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from cyclopts import App

from gesso import app as house
from gesso.accounts import ledger
from gesso.accounts.credit import credits_of, credits_text, parse_credits
from gesso.accounts.keys import Account, Keys
from gesso.cli.listing import show
from gesso.settings import read_settings
from gesso.storage.database import Database

accounts = App(name="accounts", help="Who may ask, and pays.")
keys = App(name="keys", help="API keys.")
credits = App(name="credits", help="What accounts have to spend.")

Result = TypeVar("Result")


@accounts.command(name="create")
def create_account(name: str, /, *, credits: str = "0", unlimited: bool = False) -> None:
    """Make an account.

    Args:
        name: What it is called.
        credits: What it has to spend.
        unlimited: Never refuse it for want of credits.
    """
    micro = parse_credits(credits)
    account = _with_keys(lambda keys, _: keys.create_account(name, micro, unlimited=unlimited))
    print(f"Account {account.name}: {_balance(account)} credits. A key for it: gesso keys create {account.name}")


@accounts.command(name="list")
def list_accounts(*, json: bool = False) -> None:
    """Every account.

    Args:
        json: Print JSON.
    """
    show([_row(account) for account in _with_keys(lambda keys, _: keys.accounts())], json)


@keys.command(name="create")
def create_key(account: str, /, *, replies: Literal["image", "json"] | None = None) -> None:
    """Make a key; it is the last line printed, and is not shown again.

    Args:
        account: Whose key it is.
        replies: The form of replies that this key gets where a request does not say.
    """
    print(_with_keys(lambda keys, _: keys.create_key(account, replies)))


@keys.command(name="list")
def list_keys(account: str | None = None, /, *, json: bool = False) -> None:
    """Every key, or one account's, by its beginning.

    Args:
        account: Whose keys.
        json: Print JSON.
    """
    entries = _with_keys(lambda keys, _: keys.keys(account))
    rows = [
        {
            "prefix": entry.prefix,
            "account": entry.account_name,
            "replies": entry.replies,
            "created": entry.created.isoformat(timespec="seconds"),
            "revoked": entry.revoked.isoformat(timespec="seconds") if entry.revoked else None,
        }
        for entry in entries
    ]
    show(rows, json)


@keys.command(name="revoke")
def revoke_key(prefix: str, /) -> None:
    """Make a key worthless, at once and for good.

    Args:
        prefix: Any beginning of it that no other key has.
    """
    entry = _with_keys(lambda keys, _: keys.revoke(prefix))
    print(f"Revoked the key {entry.prefix}... of {entry.account_name}.")


@credits.command(name="add")
def add_credits(account: str, amount: str, /) -> None:
    """Give an account credits.

    Args:
        account: Who gets them.
        amount: How many; a negative number takes them back.
    """
    micro = parse_credits(amount)

    async def add(keys: Keys, database: Database) -> Account:
        found = await keys.account(account)
        await database.write(lambda connection: ledger.grant(connection, found.id, micro))
        return await keys.account(account)

    print(f"{account} has {_balance(_with_keys(add))} credits.")


@credits.command(name="show")
def show_credits(account: str, /, *, json: bool = False) -> None:
    """What an account has to spend.

    Args:
        account: Which one.
        json: Print JSON.
    """
    show([_row(_with_keys(lambda keys, _: keys.account(account)))], json)


def _with_keys(work: Callable[[Keys, Database], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with house.open_keys(read_settings()) as (keys, database):
            return await work(keys, database)

    return asyncio.run(run())


def _row(account: Account) -> dict[str, object]:
    return {"name": account.name, "credits": credits_of(account.balance_micro), "unlimited": account.unlimited}


def _balance(account: Account) -> str:
    return "unlimited" if account.unlimited else credits_text(account.balance_micro)
