"""`gesso accounts`: who may ask, and how much of the server each may take up."""

from shlex import quote
from typing import Any

from cyclopts import App

from gesso.accounts.accounts import Account, Accounts, Allowance, Role
from gesso.accounts.credit import credits_of, credits_text, parse_credits
from gesso.cli.database import with_database
from gesso.cli.listing import show
from gesso.errors import BadRequest

accounts = App(name="accounts", help="Who may ask, and pays.")

NONE = "none"
"""How a limit is taken away."""


@accounts.command
def create(
    name: str,
    /,
    *,
    credits: str = "0",
    unlimited: bool = False,
    role: Role = "member",
    rate: str | None = None,
    running: int | None = None,
    waiting: int | None = None,
    share: int = 1,
) -> None:
    """Make an account.

    Args:
        name: What it is called.
        credits: What it has to spend.
        unlimited: Never refuse it for want of credits.
        role: An owner may see what concerns the whole server.
        rate: Requests over time, of all its keys together, as 60/minute.
        running: Requests of it that paint at once.
        waiting: Requests of it that may wait or run.
        share: How many turns it has for one of another account's, while both wait.
    """
    micro, allowance = parse_credits(credits), Allowance(rate, running, waiting, share)
    account = with_database(
        lambda database: Accounts(database).create(name, micro, unlimited=unlimited, role=role, allowance=allowance)
    )
    print(f"Account {account.name}: {balance_text(account)} credits.")
    print(f"A key for it: gesso keys create {quote(account.name)}")


@accounts.command(name="set")
def change(
    name: str,
    /,
    *,
    unlimited: bool | None = None,
    role: Role | None = None,
    rate: str | None = None,
    running: str | None = None,
    waiting: str | None = None,
    share: int | None = None,
) -> None:
    """Change what an account may do; what is not named stays.

    Args:
        name: Which one.
        unlimited: Whether it is never refused for want of credits.
        role: An owner may see what concerns the whole server.
        rate: Requests over time, of all its keys together, as 60/minute; none takes the limit away.
        running: Requests of it that paint at once, or none.
        waiting: Requests of it that may wait or run, or none.
        share: How many turns it has for one of another account's, while both wait.
    """
    allowance: dict[str, Any] = {} if rate is None else {"rate": None if rate == NONE else rate}
    allowance |= {} if share is None else {"share": share}
    for limit, value in (("running", running), ("waiting", waiting)):
        allowance |= {} if value is None else {limit: _number(limit, value)}
    account = with_database(
        lambda database: Accounts(database).change(name, role=role, unlimited=unlimited, allowance=allowance)
    )
    show([_row(account)], as_json=False)


@accounts.command(name="list")
def list_all(*, json: bool = False) -> None:
    """Every account.

    Args:
        json: Print JSON.
    """
    show([_row(account) for account in with_database(lambda database: Accounts(database).all())], json)


def balance_text(account: Account) -> str:
    """Its credits, as people read them."""
    return "unlimited" if account.unlimited else credits_text(account.balance_micro)


def _number(limit: str, text: str) -> int | None:
    if text == NONE:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"{limit} = {text!r}: a number, or {NONE}, can be meant.") from None


def _row(account: Account) -> dict[str, object]:
    allowance = account.allowance
    return {
        "name": account.name,
        "role": account.role,
        "credits": credits_of(account.balance_micro),
        "free_credits": credits_of(account.free_micro),
        "unlimited": account.unlimited,
        "rate": allowance.rate,
        "running": allowance.running,
        "waiting": allowance.waiting,
        "share": allowance.share,
    }
