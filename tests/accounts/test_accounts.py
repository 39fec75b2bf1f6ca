"""Accounts: names, roles, and how much of a server each may take up."""

import pytest

from gesso.accounts import ledger
from gesso.accounts.accounts import Accounts, Allowance
from gesso.accounts.keys import Keys
from gesso.errors import BadRequest, Conflict, NotFound
from gesso.storage.database import Database


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


async def test_accounts_are_found_by_name_and_listed(accounts: Accounts) -> None:
    acme, other = await accounts.create("acme", 1_500_000), await accounts.create("Ó & co", unlimited=True)
    assert await accounts.all() == [acme, other]
    assert await accounts.find("acme") == acme
    assert (acme.balance_micro, acme.unlimited, other.unlimited) == (1_500_000, False, True)
    with pytest.raises(NotFound, match="nobody"):
        await accounts.find("nobody")


async def test_a_name_is_taken_once(accounts: Accounts) -> None:
    await accounts.create("acme", 1_000_000)
    with pytest.raises(Conflict, match="acme"):
        await accounts.create("acme", 9_000_000)
    assert (await accounts.find("acme")).balance_micro == 1_000_000


@pytest.mark.parametrize("name", ["", " ", " acme", "acme\n", "a\x00b", "a" * 101])
async def test_what_cannot_name_an_account_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(BadRequest, match="cannot name an account"):
        await accounts.create(name)


async def test_an_account_does_not_begin_in_debt(accounts: Accounts) -> None:
    with pytest.raises(BadRequest, match="-1 credits"):
        await accounts.create("acme", -1_000_000)
    assert await accounts.all() == []


async def test_what_is_changed_holds_for_the_next_request_and_the_rest_stays(
    accounts: Accounts, database: Database
) -> None:
    made = await accounts.create("acme", 1_000_000, allowance=Allowance(rate="60/minute", waiting=5))
    keys = Keys(database)
    key = await keys.create("acme")
    assert (await keys.authenticate(key)).allowance == Allowance("60/minute", None, 5, 1)
    changed = await accounts.change("acme", role="owner", allowance={"running": 2, "waiting": None, "share": 3})
    assert changed.allowance == Allowance("60/minute", 2, None, 3)
    assert (changed.role, changed.balance_micro, made.role) == ("owner", 1_000_000, "member")
    caller = await keys.authenticate(key)
    assert (caller.role, caller.allowance) == ("owner", changed.allowance)
    with pytest.raises(NotFound):
        await accounts.change("nobody", role="owner")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"running": 0}, "running = 0: 1 to"),
        ({"waiting": -1}, "waiting = -1"),
        ({"share": 2**31}, "share = 2147483648"),
        ({"rate": "often"}, "'often' is not a rate"),
    ],
)
async def test_what_an_account_cannot_be_allowed_is_refused(
    accounts: Accounts, change: dict[str, object], sentence: str
) -> None:
    await accounts.create("acme")
    with pytest.raises(BadRequest, match=sentence):
        await accounts.change("acme", allowance=change)
    with pytest.raises(BadRequest, match=sentence):
        await accounts.create("other", allowance=Allowance(**change))  # type: ignore[arg-type]
    assert [account.allowance for account in await accounts.all()] == [Allowance()]


async def test_an_account_that_owes_gets_no_limit(accounts: Accounts, database: Database) -> None:
    account = await accounts.create("acme", unlimited=True)
    await database.write(lambda connection: ledger.reserve(connection, account.id, "job", 1_500_000))
    with pytest.raises(BadRequest, match=r"1\.5 credits more"):
        await accounts.change("acme", unlimited=False)
    await database.write(lambda connection: ledger.grant(connection, account.id, 2_000_000))
    assert (await accounts.change("acme", unlimited=False)).balance_micro == 500_000
