"""Who asks: accounts and their API keys.

A key is shown once and kept as its SHA-256 only. A slow, salted hash is for passwords, which can be guessed; a key
has 238 random bits, so there is nothing to guess, and a plain digest can be looked up by index on every request.
"""

import hashlib
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from gesso.accounts import ledger
from gesso.accounts.credit import credits_text
from gesso.errors import BadRequest, Conflict, NotFound, Unauthorized
from gesso.storage.database import Database
from gesso.storage.tables import accounts, api_keys

KeyReplies = Literal["image", "json"]

KEY_START: Final = "SG_"
KEY_LENGTH: Final = 40
KEY_LETTERS: Final = string.ascii_letters + string.digits
PREFIX_LENGTH: Final = 12
"""How much of a key is kept to recognise it by; of a short key that its owner chose, less."""

OWNER: Final = "owner"
NAME_FORM: Final = re.compile(r"\S(.{0,98}\S)?")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, by its key. `replies`: the form this key gets where a request does not say."""

    account_id: int
    account_name: str
    key_id: int
    replies: KeyReplies | None
    unlimited: bool


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns keys and pays. What an account without limit has spent makes its balance negative."""

    id: int
    name: str
    unlimited: bool
    balance_micro: int


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What is known of a key once it has been shown: `prefix` is its beginning."""

    id: int
    account_name: str
    prefix: str
    replies: KeyReplies | None
    created: datetime
    revoked: datetime | None


class Keys:
    """Accounts and keys in the database. Nothing is cached: what another process changes holds at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, key: str | None) -> Caller:
        """Whose key this is. Raises Unauthorized for none, an unknown or a revoked one."""
        if not key:
            raise Unauthorized("Missing Authorization or x-api-key in header")
        asked = {"digest": _digest(key)}
        row = await self._database.read(lambda connection: connection.execute(_BY_DIGEST, asked).one_or_none())
        if row is None:
            raise Unauthorized("This API key is not known here.")
        if row.revoked is not None:
            raise Unauthorized("This API key has been revoked.")
        return Caller(row.account_id, row.account_name, row.id, row.replies, row.unlimited)

    async def bootstrap(self, key: str | None = None) -> str | None:
        """The first time: make the account `owner`, without limit, and return its key, which is `key` or a new one.

        Later: return None; a `key` that was never known becomes another of the owner's.
        """

        def bootstrap(connection: Connection) -> str | None:
            owner = connection.execute(select(accounts.c.id).where(accounts.c.name == OWNER)).scalar()
            if owner is None:
                account = _add_account(connection, OWNER, unlimited=True)
                return _add_key(connection, account.id, key or _new_key())
            if key is not None and not connection.execute(_known(key)).first():
                _add_key(connection, owner, key)
            return None

        return await self._database.write(bootstrap)

    async def create_account(self, name: str, credit_micro: int = 0, *, unlimited: bool = False) -> Account:
        """Raises Conflict where the name is taken, BadRequest where it is no name or the credits are negative."""
        if not NAME_FORM.fullmatch(name) or not name.isprintable():
            raise BadRequest(
                f"{name!r} cannot name an account: 1 to 100 printable characters can, without outer spaces."
            )
        if credit_micro < 0:
            raise BadRequest(f"An account cannot begin with {credits_text(credit_micro)} credits.")

        def create(connection: Connection) -> Account:
            account = _add_account(connection, name, unlimited=unlimited)
            if credit_micro:
                ledger.grant(connection, account.id, credit_micro)
            return _find_account(connection, name)

        return await self._database.write(create)

    async def account(self, name: str) -> Account:
        """Raises NotFound."""
        return await self._database.read(lambda connection: _find_account(connection, name))

    async def accounts(self) -> list[Account]:
        """All, oldest first."""
        query = select(accounts).order_by(accounts.c.id)
        return await self._database.read(lambda connection: [_account(row) for row in connection.execute(query)])

    async def create_key(self, account_name: str, replies: KeyReplies | None = None) -> str:
        """A new key, to be shown once: only its hash is kept. Raises NotFound where there is no such account."""

        def create(connection: Connection) -> str:
            return _add_key(connection, _find_account(connection, account_name).id, _new_key(), replies)

        return await self._database.write(create)

    async def revoke(self, prefix: str) -> KeyEntry:
        """Revoke the one key in use that begins so. Raises NotFound for none, Conflict for more than one."""
        if not prefix:
            raise BadRequest("Say how the key begins.")

        def revoke(connection: Connection) -> KeyEntry:
            entry = _only(prefix, connection.execute(_beginning(prefix)).all())
            connection.execute(update(api_keys).where(api_keys.c.id == entry.id).values(revoked=datetime.now(UTC)))
            return _entry(connection.execute(_joined().where(api_keys.c.id == entry.id)).one())

        return await self._database.write(revoke)

    async def keys(self, account_name: str | None = None) -> list[KeyEntry]:
        """All, or one account's, oldest first. Raises NotFound where there is no such account."""

        def read(connection: Connection) -> list[KeyEntry]:
            query = _joined().order_by(api_keys.c.id)
            if account_name is not None:
                query = query.where(api_keys.c.account_id == _find_account(connection, account_name).id)
            return [_entry(row) for row in connection.execute(query)]

        return await self._database.read(read)


def _add_account(connection: Connection, name: str, *, unlimited: bool) -> Account:
    values = {"name": name, "unlimited": unlimited, "balance_micro": 0, "created": datetime.now(UTC)}
    try:
        connection.execute(insert(accounts).values(values))
    except IntegrityError:
        raise Conflict(f"There is an account {name!r} already.") from None
    return _find_account(connection, name)


def _find_account(connection: Connection, name: str) -> Account:
    row = connection.execute(select(accounts).where(accounts.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no account {name!r}.")
    return _account(row)


def _add_key(connection: Connection, account_id: int, key: str, replies: KeyReplies | None = None) -> str:
    prefix = key[: min(PREFIX_LENGTH, len(key) // 2)]
    values = {"account_id": account_id, "digest": _digest(key), "prefix": prefix, "replies": replies}
    connection.execute(insert(api_keys).values(values | {"created": datetime.now(UTC)}))
    return key


def _new_key() -> str:
    return KEY_START + "".join(secrets.choice(KEY_LETTERS) for _ in range(KEY_LENGTH))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _joined() -> Select[Any]:
    owner = accounts.c.name.label("account_name"), accounts.c.unlimited
    return select(api_keys, *owner).join_from(api_keys, accounts)


_BY_DIGEST: Final = _joined().where(api_keys.c.digest == bindparam("digest"))  # built once: every request asks


def _known(key: str) -> Select[Any]:
    return select(api_keys.c.id).where(api_keys.c.digest == _digest(key))


def _beginning(given: str) -> Select[Any]:
    """Keys in use that begin as given, as far as both `given` and what is kept of the key go."""
    kept = api_keys.c.prefix
    longer = func.substr(literal(given), 1, func.length(kept)) == kept
    shorter = func.substr(kept, 1, len(given)) == given
    return _joined().where(or_(longer, shorter), api_keys.c.revoked.is_(None))


def _only(given: str, rows: Sequence[Row[Any]]) -> Row[Any]:
    exact = [row for row in rows if row.digest == _digest(given)]
    is_whole = len(given) >= len(KEY_START) + KEY_LENGTH  # then nothing but itself is meant
    match exact if exact or is_whole else rows:
        case [row]:
            return row
        case []:
            raise NotFound(f"No key in use begins with {given[:PREFIX_LENGTH]!r}.")
        case several:
            raise Conflict(f"{len(several)} keys begin with {given!r}: {', '.join(row.prefix for row in several)}.")


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, row.unlimited, row.balance_micro)


def _entry(row: Row[Any]) -> KeyEntry:
    return KeyEntry(row.id, row.account_name, row.prefix, row.replies, row.created, row.revoked)
