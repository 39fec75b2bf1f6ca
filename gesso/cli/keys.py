"""`gesso keys`: API keys, each shown once."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from cyclopts import App

from gesso import app as house
from gesso.accounts.keys import KeyEntry, Keys, Scope
from gesso.cli.database import with_database
from gesso.cli.listing import show
from gesso.errors import BadRequest
from gesso.settings import read_settings

keys = App(name="keys", help="API keys.")

DAY = timedelta(days=1)


@keys.command
def create(
    account: str,
    /,
    *,
    models: list[str] | None = None,
    expires: timedelta | None = None,
    rate: str | None = None,
    replies: Literal["image", "json"] | None = None,
) -> None:
    """Make a key; it is the last line printed, and is not shown again.

    Args:
        account: Whose key it is.
        models: Endpoints that it may use; all, where none is named. May be given several times.
        expires: How long it counts, as 90d or 12h; for ever by default.
        rate: Requests over time, beside its account's, as 60/minute.
        replies: The form of replies that this key gets where a request does not say.
    """
    catalogue = house.read_catalogue(read_settings())
    slugs = None if models is None else tuple(catalogue.endpoint(model).slug for model in models)
    scope = Scope(slugs, rate, replies, None if expires is None else _end(expires))
    print(with_database(lambda database: Keys(database).create(account, scope)))


@keys.command
def rotate(prefix: str, /, *, overlap: timedelta = DAY) -> None:
    """Make a key like another, which counts a while longer; the new one is the last line printed, and not shown again.

    Args:
        prefix: Any beginning of the old key that no other has.
        overlap: How long the old one still counts, as 1h; a day by default.
    """
    if overlap < timedelta(0):
        raise BadRequest("--overlap: a time from now on is expected, as 1h.")
    new, old = with_database(lambda database: Keys(database).rotate(prefix, _end(overlap)))
    print(f"The key {old.prefix}... of {old.account_name} counts until {_moment(old.scope.expires)}. In its place:")
    print(new)


@keys.command(name="list")
def list_all(account: str | None = None, /, *, json: bool = False) -> None:
    """Every key, or one account's, by its beginning.

    Args:
        account: Whose keys.
        json: Print JSON.
    """
    show([_row(entry) for entry in with_database(lambda database: Keys(database).all(account))], json)


@keys.command
def revoke(prefix: str, /) -> None:
    """Make a key worthless, at once and for good.

    Args:
        prefix: Any beginning of it that no other key has.
    """
    entry = with_database(lambda database: Keys(database).revoke(prefix))
    print(f"Revoked the key {entry.prefix}... of {entry.account_name}.")


def _end(time: timedelta) -> datetime:
    """So long from now."""
    try:
        return datetime.now(UTC) + time
    except OverflowError:
        raise BadRequest(f"{time.days} days: that is beyond the calendar.") from None


def _row(entry: KeyEntry) -> dict[str, object]:
    return {
        "prefix": entry.prefix,
        "account": entry.account_name,
        "models": entry.scope.models or "all",
        "rate": entry.scope.rate,
        "replies": entry.scope.replies,
        "created": _moment(entry.created),
        "used": _moment(entry.used),
        "expires": _moment(entry.scope.expires),
        "revoked": _moment(entry.revoked),
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
