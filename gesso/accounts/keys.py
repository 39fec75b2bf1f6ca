"""Who asks: API keys, and what each is good for.

A key is shown once and kept as its SHA-256 only. A slow, salted hash is for passwords, which can be guessed; a key
has 238 random bits, so there is nothing to guess, and a plain digest can be looked up by index on every request.
"""

import asyncio
import contextlib
import hashlib
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, literal, or_, select, update

from gesso.accounts.accounts import Allowance, Role, add_account, find_account
from gesso.accounts.rates import check_rate
from gesso.errors import BadRequest, Conflict, Forbidden, NotFound, ServiceUnavailable, Unauthorized
from gesso.storage.database import Database
from gesso.storage.tables import accounts, api_keys

KeyReplies = Literal["image", "json"]

KEY_START: Final = "SG_"
KEY_LENGTH: Final = 40
KEY_LETTERS: Final = string.ascii_letters + string.digits
PREFIX_LENGTH: Final = 12
"""How much of a key is kept to recognise it by; of a short key that its owner chose, less."""

OWNER: Final = "owner"
"""The account that is there from the first start."""

USE_TOLD: Final = timedelta(minutes=1)
"""How exactly it is known when a key was last used: a write for every request would tell no more to anybody."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key is good for.

    `models`: the endpoints that it may use, by slug; None: all. `rate`: requests over time, beside its account's.
    `replies`: the form that it gets where a request does not say. `expires`: when it ceases to count.
    """

    models: tuple[str, ...] | None = None
    rate: str | None = None
    replies: KeyReplies | None = None
    expires: datetime | None = None


ANYTHING: Final = Scope()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, by its key."""

    account_id: int
    account_name: str
    role: Role
    unlimited: bool
    allowance: Allowance
    key_id: int
    scope: Scope

    def require(self, model: str) -> None:
        """Raises Forbidden where this key may not use the endpoint."""
        if self.scope.models is not None and model not in self.scope.models:
            raise Forbidden(f"This API key may not use {model!r}; it may use {', '.join(self.scope.models)}.")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What is known of a key once it has been shown: `prefix` is its beginning."""

    id: int
    account_name: str
    prefix: str
    scope: Scope
    created: datetime
    revoked: datetime | None
    used: datetime | None


class Keys:
    """Keys in the database. Nothing is cached: what another process changes holds at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._telling: set[asyncio.Task[None]] = set()

    async def authenticate(self, key: str | None) -> Caller:
        """Whose key this is. Raises Unauthorized for none, and for one that is unknown, revoked or expired."""
        if not key:
            raise Unauthorized("Missing Authorization or x-api-key in header")
        asked = {"digest": _digest(key)}
        row = await self._database.read(lambda connection: connection.execute(_BY_DIGEST, asked).one_or_none())
        now = datetime.now(UTC)
        if row is None:
            raise Unauthorized("This API key is not known here.")
        if row.revoked is not None:
            raise Unauthorized("This API key has been revoked.")
        if row.expires is not None and row.expires <= now:
            raise Unauthorized("This API key has expired.")
        if row.used is None or row.used + USE_TOLD <= now:
            self._tell_use(row.id, now)
        return _caller(row)

    async def bootstrap(self, key: str | None = None) -> str | None:
        """The first time: make the account `owner`, without limit, and return its key, which is `key` or a new one.

        Later: return None; a `key` that was never known becomes another of the owner's.
        """

        def bootstrap(connection: Connection) -> str | None:
            owner = connection.execute(select(accounts.c.id).where(accounts.c.name == OWNER)).scalar()
            if owner is None:
                account = add_account(connection, OWNER, unlimited=True, role="owner")
                return _add_key(connection, account.id, key or _new_key())
            if key is not None and not connection.execute(_known(key)).first():
                _add_key(connection, owner, key)
            return None

        return await self._database.write(bootstrap)

    async def create(self, account_name: str, scope: Scope = ANYTHING) -> str:
        """A new key, to be shown once: only its hash is kept.

        Raises NotFound where there is no such account, BadRequest for a rate that is none and an end that has passed.
        """
        check_rate(scope.rate)
        if scope.expires is not None and scope.expires <= datetime.now(UTC):
            raise BadRequest(f"A key cannot expire at {scope.expires.isoformat(timespec='seconds')}: that is past.")

        def create(connection: Connection) -> str:
            return _add_key(connection, find_account(connection, account_name).id, _new_key(), scope)

        return await self._database.write(create)

    async def rotate(self, prefix: str, until: datetime) -> tuple[str, KeyEntry]:
        """A new key of the same account and scope, to be shown once, and the old one, which counts `until` then.

        Neither counts longer than the old one would have. Raises NotFound and Conflict like `revoke`, and Conflict for
        a key that was rotated before: the one in its place is the one to rotate.
        """

        def rotate(connection: Connection) -> tuple[str, KeyEntry]:
            old = _only(prefix, connection.execute(_beginning(prefix)).all())
            new = _add_key(connection, old.account_id, _new_key(), _scope(old))
            if old.rotated:
                raise Conflict(f"The key {old.prefix}... was rotated before; rotate the one in its place, or make one.")
            last = until if old.expires is None else min(until, old.expires)
            ends = {"expires": last, "rotated": True}
            connection.execute(update(api_keys).where(api_keys.c.id == old.id).values(ends))
            return new, _entry_of(connection, old.id)

        return await self._database.write(rotate)

    async def revoke(self, prefix: str) -> KeyEntry:
        """Revoke the one key in use that begins so. Raises NotFound for none, Conflict for more than one."""

        def revoke(connection: Connection) -> KeyEntry:
            entry = _only(prefix, connection.execute(_beginning(prefix)).all())
            connection.execute(update(api_keys).where(api_keys.c.id == entry.id).values(revoked=datetime.now(UTC)))
            return _entry_of(connection, entry.id)

        return await self._database.write(revoke)

    async def all(self, account_name: str | None = None) -> list[KeyEntry]:
        """All, or one account's, oldest first. Raises NotFound where there is no such account."""

        def read(connection: Connection) -> list[KeyEntry]:
            query = _joined().order_by(api_keys.c.id)
            if account_name is not None:
                query = query.where(api_keys.c.account_id == find_account(connection, account_name).id)
            return [_entry(row) for row in connection.execute(query)]

        return await self._database.read(read)

    def _tell_use(self, key_id: int, now: datetime) -> None:
        """Nobody waits for it, and nothing is lost with it."""

        async def tell() -> None:
            with contextlib.suppress(ServiceUnavailable):
                await self._database.write(lambda connection: connection.execute(_USE, {"key": key_id, "now": now}))

        task = asyncio.ensure_future(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def caller_by(connection: Connection, key_id: int) -> Caller:
    """Whoever once asked by this key, which may not count any more."""
    return _caller(connection.execute(_joined().where(api_keys.c.id == key_id)).one())


def _caller(row: Row[Any]) -> Caller:
    allowance = Allowance(row.account_rate, row.running, row.waiting, row.share)
    return Caller(row.account_id, row.account_name, row.role, row.unlimited, allowance, row.id, _scope(row))


def _add_key(connection: Connection, account_id: int, key: str, scope: Scope = ANYTHING) -> str:
    prefix = key[: min(PREFIX_LENGTH, len(key) // 2)]
    known = {"account_id": account_id, "digest": _digest(key), "prefix": prefix, "rotated": False}
    models = None if scope.models is None else list(scope.models)
    asked = {"models": models, "rate": scope.rate, "replies": scope.replies, "expires": scope.expires}
    connection.execute(insert(api_keys).values(known | asked | {"created": datetime.now(UTC)}))
    return key


def _new_key() -> str:
    return KEY_START + "".join(secrets.choice(KEY_LETTERS) for _ in range(KEY_LENGTH))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _joined() -> Select[Any]:
    rate = accounts.c.rate.label("account_rate")
    owner = accounts.c.name.label("account_name"), accounts.c.role, accounts.c.unlimited, rate
    return select(api_keys, *owner, accounts.c.running, accounts.c.waiting, accounts.c.share).join_from(
        api_keys, accounts
    )


_BY_DIGEST: Final = _joined().where(api_keys.c.digest == bindparam("digest"))  # built once: every request asks
_USE: Final = update(api_keys).where(api_keys.c.id == bindparam("key")).values(used=bindparam("now"))


def _known(key: str) -> Select[Any]:
    return select(api_keys.c.id).where(api_keys.c.digest == _digest(key))


def _beginning(given: str) -> Select[Any]:
    """Keys in use that begin as given, as far as both `given` and what is kept of the key go."""
    kept = api_keys.c.prefix
    longer = func.substr(literal(given), 1, func.length(kept)) == kept
    shorter = func.substr(kept, 1, len(given)) == given
    in_time = or_(api_keys.c.expires.is_(None), api_keys.c.expires > datetime.now(UTC))
    return _joined().where(or_(longer, shorter), api_keys.c.revoked.is_(None), in_time)


def _only(given: str, rows: Sequence[Row[Any]]) -> Row[Any]:
    if not given:
        raise BadRequest("Say how the key begins.")
    exact = [row for row in rows if row.digest == _digest(given)]
    is_whole = len(given) >= len(KEY_START) + KEY_LENGTH  # then nothing but itself is meant
    match exact if exact or is_whole else rows:
        case [row]:
            return row
        case []:
            raise NotFound(f"No key in use begins with {given[:PREFIX_LENGTH]!r}.")
        case several:
            raise Conflict(f"{len(several)} keys begin with {given!r}: {', '.join(row.prefix for row in several)}.")


def _scope(row: Row[Any]) -> Scope:
    return Scope(None if row.models is None else tuple(row.models), row.rate, row.replies, row.expires)


def _entry(row: Row[Any]) -> KeyEntry:
    return KeyEntry(row.id, row.account_name, row.prefix, _scope(row), row.created, row.revoked, row.used)


def _entry_of(connection: Connection, key_id: int) -> KeyEntry:
    return _entry(connection.execute(_joined().where(api_keys.c.id == key_id)).one())
