import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gesso.accounts.keys import Keys
from gesso.errors import BadRequest, Conflict, NotFound, Unauthorized
from gesso.storage.database import Database, open_database


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


@pytest.fixture
async def elsewhere(database: Database, database_url: str) -> AsyncIterator[Keys]:
    """The keys as another process sees and changes them."""
    other = await open_database(database_url)
    yield Keys(other)
    await other.close()


async def test_a_key_says_who_is_calling(keys: Keys) -> None:
    account = await keys.create_account("acme", 5_000_000)
    caller = await keys.authenticate(await keys.create_key("acme", replies="image"))
    assert (caller.account_id, caller.account_name) == (account.id, "acme")
    assert (caller.replies, caller.unlimited) == ("image", False)


async def test_keys_look_like_the_documented_ones(keys: Keys) -> None:
    await keys.create_account("acme")
    made = {await keys.create_key("acme") for _ in range(20)}
    assert len(made) == 20
    assert all(re.fullmatch(r"SG_[a-zA-Z0-9]{32,}", key) for key in made)


@pytest.mark.parametrize("key", [None, ""])
async def test_without_a_key_the_documented_sentence_is_said(keys: Keys, key: str | None) -> None:
    with pytest.raises(Unauthorized) as error:
        await keys.authenticate(key)
    assert error.value.sentence == "Missing Authorization or x-api-key in header"


async def test_an_unknown_key_does_not_count(keys: Keys) -> None:
    await keys.create_account("acme")
    key = await keys.create_key("acme")
    for wrong in (
        key.swapcase(),
        key[:-1],
        key + "x",
        f" {key}",
        "SG_" + "0" * 40,
        "ключ",
        "'; DROP TABLE api_keys; --",
    ):
        with pytest.raises(Unauthorized, match="not known"):
            await keys.authenticate(wrong)


async def test_a_key_that_another_process_revokes_is_refused_at_once(keys: Keys, elsewhere: Keys) -> None:
    await keys.create_account("acme")
    key = await keys.create_key("acme")
    assert (await keys.authenticate(key)).account_name == "acme"
    await elsewhere.revoke(key[:9])
    with pytest.raises(Unauthorized, match="revoked"):
        await keys.authenticate(key)


async def test_a_key_that_another_process_makes_counts_at_once(keys: Keys, elsewhere: Keys) -> None:
    await elsewhere.create_account("acme")
    assert (await keys.authenticate(await elsewhere.create_key("acme"))).account_name == "acme"


async def test_neither_a_key_nor_most_of_it_is_kept_anywhere(keys: Keys, tmp_path: Path) -> None:
    owners = await keys.bootstrap("SG_chosenByTheOwner1")
    await keys.create_account("acme")
    for key in (owners, await keys.create_key("acme")):
        assert key is not None
        for file in tmp_path.iterdir():
            assert key[:13].encode() not in file.read_bytes()


async def test_any_beginning_that_fits_one_key_alone_revokes_it(keys: Keys) -> None:
    await keys.create_account("acme")
    made = [await keys.create_key("acme") for _ in range(3)]
    for key, length in zip(made, (9, 20, len(made[2])), strict=True):
        entry = await keys.revoke(key[:length])
        assert entry.revoked is not None
        assert key.startswith(entry.prefix)
    for key in made:
        with pytest.raises(Unauthorized):
            await keys.authenticate(key)


async def test_a_beginning_that_fits_several_keys_revokes_none(keys: Keys) -> None:
    await keys.create_account("acme")
    made = [await keys.create_key("acme") for _ in range(2)]
    with pytest.raises(Conflict, match="2 keys begin with 'SG_'"):
        await keys.revoke("SG_")
    for key in made:
        assert await keys.authenticate(key)


async def test_capitals_and_wildcards_in_a_beginning_are_just_letters(keys: Keys) -> None:
    await keys.create_account("acme")
    key = await keys.create_key("acme")
    for beginning in (key[:9].swapcase(), "SG%", "SG_%", "%"):
        with pytest.raises(NotFound, match="No key in use begins"):
            await keys.revoke(beginning)
    assert await keys.authenticate(key)


async def test_revoking_needs_a_beginning_and_a_key_in_use(keys: Keys) -> None:
    await keys.create_account("acme")
    key = await keys.create_key("acme")
    with pytest.raises(BadRequest):
        await keys.revoke("")
    await keys.revoke(key)
    with pytest.raises(NotFound, match="No key in use begins"):
        await keys.revoke(key)


async def test_keys_are_listed_by_what_may_be_known_of_them(keys: Keys) -> None:
    await keys.create_account("acme")
    await keys.create_account("other")
    first, second = await keys.create_key("acme"), await keys.create_key("other", replies="json")
    await keys.revoke(first)
    entries = await keys.keys()
    assert [(entry.account_name, entry.replies, entry.revoked is None) for entry in entries] == [
        ("acme", None, False),
        ("other", "json", True),
    ]
    assert [entry.prefix for entry in await keys.keys("other")] == [second[:12]]
    with pytest.raises(NotFound, match="nobody"):
        await keys.keys("nobody")


async def test_an_empty_database_gets_an_owner_without_limit_and_one_key(keys: Keys) -> None:
    key = await keys.bootstrap()
    caller = await keys.authenticate(key)
    assert (caller.account_name, caller.unlimited) == ("owner", True)
    assert await keys.bootstrap() is None
    assert len(await keys.keys()) == 1


async def test_the_owner_may_choose_the_first_key(keys: Keys) -> None:
    assert await keys.bootstrap("SG_chosenByTheOwner1") == "SG_chosenByTheOwner1"
    assert (await keys.authenticate("SG_chosenByTheOwner1")).unlimited


async def test_accounts_are_found_by_name_and_listed(keys: Keys) -> None:
    acme, other = await keys.create_account("acme", 1_500_000), await keys.create_account("Ó & co", unlimited=True)
    assert await keys.accounts() == [acme, other]
    assert await keys.account("acme") == acme
    assert (acme.balance_micro, acme.unlimited, other.unlimited) == (1_500_000, False, True)
    with pytest.raises(NotFound, match="nobody"):
        await keys.account("nobody")


async def test_a_name_is_taken_once(keys: Keys) -> None:
    await keys.create_account("acme", 1_000_000)
    with pytest.raises(Conflict, match="acme"):
        await keys.create_account("acme", 9_000_000)
    assert (await keys.account("acme")).balance_micro == 1_000_000


@pytest.mark.parametrize("name", ["", " ", " acme", "acme\n", "a\x00b", "a" * 101])
async def test_what_cannot_name_an_account_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(BadRequest, match="cannot name an account"):
        await keys.create_account(name)


async def test_an_account_does_not_begin_in_debt(keys: Keys) -> None:
    with pytest.raises(BadRequest, match="-1 credits"):
        await keys.create_account("acme", -1_000_000)
    assert await keys.accounts() == []


async def test_the_owner_is_made_also_beside_accounts_that_are_there(keys: Keys) -> None:
    await keys.create_account("acme")
    key = await keys.bootstrap()
    assert key is not None
    assert (await keys.authenticate(key)).unlimited


async def test_a_chosen_key_that_was_never_known_becomes_the_owners(keys: Keys) -> None:
    first = await keys.bootstrap()
    assert first is not None
    chosen = "SG_chosen0123456789"
    assert await keys.bootstrap(chosen) is None
    assert (await keys.authenticate(chosen)).account_name == "owner"
    await keys.revoke(chosen)
    await keys.bootstrap(chosen)
    with pytest.raises(Unauthorized):
        await keys.authenticate(chosen)


async def test_a_whole_key_revokes_itself_and_no_other(keys: Keys) -> None:
    await keys.create_account("acme")
    key = await keys.create_key("acme")
    with pytest.raises(NotFound):
        await keys.revoke(key[:-1] + ("a" if key[-1] != "a" else "b"))
    assert (await keys.revoke(key)).revoked
