"""Who asks: accounts and their API keys."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gesso.storage.database import Database

KeyReplies = Literal["image", "json"]


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
    """Who owns keys and pays. `balance_micro` means nothing to an account without limit."""

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
        raise NotImplementedError

    async def bootstrap(self, key: str | None = None) -> str | None:
        """On a database without accounts: make the account `owner` without limit and return its key (`key` or a new one).
        On any other: nothing, and None."""
        raise NotImplementedError

    async def create_account(self, name: str, credit_micro: int = 0, *, unlimited: bool = False) -> Account:
        """Raises Conflict where the name is taken, BadRequest where it is no name."""
        raise NotImplementedError

    async def account(self, name: str) -> Account:
        """Raises NotFound."""
        raise NotImplementedError

    async def accounts(self) -> list[Account]:
        """All, oldest first."""
        raise NotImplementedError

    async def create_key(self, account_name: str, replies: KeyReplies | None = None) -> str:
        """A new key, to be shown once: only its hash is kept. Raises NotFound where there is no such account."""
        raise NotImplementedError

    async def revoke(self, prefix: str) -> KeyEntry:
        """Revoke the one key that begins so. Raises NotFound for none, Conflict for more than one."""
        raise NotImplementedError

    async def keys(self, account_name: str | None = None) -> list[KeyEntry]:
        """All, or one account's, oldest first. Raises NotFound where there is no such account."""
        raise NotImplementedError
