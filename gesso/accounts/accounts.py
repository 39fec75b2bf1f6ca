"""Who pays: accounts, what role each has, and how much of a server it may take up."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from gesso.accounts import ledger
from gesso.accounts.credit import credits_text
from gesso.accounts.rates import check_rate
from gesso.errors import BadRequest, Conflict, NotFound
from gesso.storage.database import Database
from gesso.storage.tables import accounts

Role = Literal["owner", "member"]
"""An `owner` sees what concerns the whole server; a `member` its own."""

MOST: Final = 2**31
NAME_FORM: Final = re.compile(r"\S(.{0,98}\S)?")


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much of a server an account may take up.

    `rate`: requests over time, as `60/minute`; `running`: its requests that paint at once; `waiting`: those that wait
    or run. None: as the server's settings say, or without bound. `share`: how many times another's part it has.
    """

    rate: str | None = None
    running: int | None = None
    waiting: int | None = None
    share: int = 1

    def check(self) -> None:
        """Raises BadRequest for what cannot be meant."""
        check_rate(self.rate)
        for name, value in (("running", self.running), ("waiting", self.waiting), ("share", self.share)):
            if value is not None and not 0 < value < MOST:
                raise BadRequest(f"{name} = {value}: 1 to {MOST - 1} can be meant.")


ALL: Final = Allowance()
"""As much as the server's settings say."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns keys and pays. What an account without limit has spent makes its balance negative. `free_micro`: what of
    the balance was given and not bought; it is spent first."""

    id: int
    name: str
    role: Role
    unlimited: bool
    balance_micro: int
    free_micro: int
    allowance: Allowance


class Accounts:
    """Those in the database. Nothing is cached: what another process changes holds at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        name: str,
        credit_micro: int = 0,
        *,
        unlimited: bool = False,
        role: Role = "member",
        allowance: Allowance = ALL,
    ) -> Account:
        """Raises Conflict where the name is taken, BadRequest where it is no name or the credits are negative."""
        if not NAME_FORM.fullmatch(name) or not name.isprintable():
            raise BadRequest(
                f"{name!r} cannot name an account: 1 to 100 printable characters can, without outer spaces."
            )
        if credit_micro < 0:
            raise BadRequest(f"An account cannot begin with {credits_text(credit_micro)} credits.")

        allowance.check()

        def create(connection: Connection) -> Account:
            account = add_account(connection, name, unlimited=unlimited, role=role, allowance=allowance)
            if credit_micro:
                ledger.grant(connection, account.id, credit_micro)
            return find_account(connection, name)

        return await self._database.write(create)

    async def change(
        self,
        name: str,
        *,
        role: Role | None = None,
        unlimited: bool | None = None,
        allowance: Mapping[str, Any] = MappingProxyType({}),
    ) -> Account:
        """What is None stays, and so does what `allowance`, new values by the fields' names, does not name.

        Raises NotFound; BadRequest for what cannot be meant, and for a limit to what an account has spent already.
        """

        def change(connection: Connection) -> Account:
            account = find_account(connection, name)
            changed = replace(account.allowance, **allowance)
            changed.check()
            values: dict[str, object] = {"role": role or account.role, **asdict(changed)}
            if unlimited is not None:
                values["unlimited"] = unlimited
            owed = account.free_micro - account.balance_micro
            if unlimited is False and owed > 0:
                raise BadRequest(
                    f"{name} has spent {credits_text(owed)} credits more than it bought; give it those first."
                )
            connection.execute(update(accounts).where(accounts.c.id == account.id).values(values))
            return find_account(connection, name)

        return await self._database.write(change)

    async def find(self, name: str) -> Account:
        """Raises NotFound."""
        return await self._database.read(lambda connection: find_account(connection, name))

    async def all(self) -> list[Account]:
        """All, oldest first."""
        query = select(accounts).order_by(accounts.c.id)
        return await self._database.read(lambda connection: [_account(row) for row in connection.execute(query)])


def add_account(
    connection: Connection,
    name: str,
    *,
    unlimited: bool,
    role: Role,
    allowance: Allowance = ALL,
) -> Account:
    """A new account, without credits. Raises Conflict where the name is taken."""
    values = {"name": name, "role": role, "unlimited": unlimited, "balance_micro": 0, "free_micro": 0}
    try:
        connection.execute(insert(accounts).values(values | asdict(allowance) | {"created": datetime.now(UTC)}))
    except IntegrityError:
        raise Conflict(f"There is an account {name!r} already.") from None
    return find_account(connection, name)


def find_account(connection: Connection, name: str) -> Account:
    """Raises NotFound."""
    row = connection.execute(select(accounts).where(accounts.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no account {name!r}.")
    return _account(row)


def _account(row: Row[Any]) -> Account:
    allowance = Allowance(row.rate, row.running, row.waiting, row.share)
    return Account(row.id, row.name, row.role, row.unlimited, row.balance_micro, row.free_micro, allowance)
