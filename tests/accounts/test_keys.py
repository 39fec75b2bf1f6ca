import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from gesso.accounts.accounts import Accounts
from gesso.accounts.keys import Keys, Scope
from gesso.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from gesso.storage.database import Database, open_database
from gesso.storage.tables import api_keys


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


@pytest.fixture
async def elsewhere(database: Database, database_url: str) -> AsyncIterator[Keys]:
    """The keys as another process sees and changes them."""
    other = await open_database(database_url)
    yield Keys(other)
    await other.close()


async def test_a_key_says_who_is_calling(keys: Keys, accounts: Accounts) -> None:
    account = await accounts.create("acme", 5_000_000)
    caller = await keys.authenticate(await keys.create("acme", Scope(replies="image")))
    assert (caller.account_id, caller.account_name) == (account.id, "acme")
    assert (caller.scope.replies, caller.unlimited) == ("image", False)


async def test_keys_look_like_the_documented_ones(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    made = {await keys.create("acme") for _ in range(20)}
    assert len(made) == 20
    assert all(re.fullmatch(r"SG_[a-zA-Z0-9]{32,}", key) for key in made)


@pytest.mark.parametrize("key", [None, ""])
async def test_without_a_key_the_documented_sentence_is_said(keys: Keys, key: str | None) -> None:
    with pytest.raises(Unauthorized) as error:
        await keys.authenticate(key)
    assert error.value.sentence == "Missing Authorization or x-api-key in header"


async def test_an_unknown_key_does_not_count(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    key = await keys.create("acme")
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


async def test_a_key_that_another_process_revokes_is_refused_at_once(
    keys: Keys, accounts: Accounts, elsewhere: Keys
) -> None:
    await accounts.create("acme")
    key = await keys.create("acme")
    assert (await keys.authenticate(key)).account_name == "acme"
    await elsewhere.revoke(key[:9])
    with pytest.raises(Unauthorized, match="revoked"):
        await keys.authenticate(key)


async def test_a_key_that_another_process_makes_counts_at_once(keys: Keys, accounts: Accounts, elsewhere: Keys) -> None:
    await accounts.create("acme")
    assert (await keys.authenticate(await elsewhere.create("acme"))).account_name == "acme"


async def test_neither_a_key_nor_most_of_it_is_kept_anywhere(keys: Keys, accounts: Accounts, tmp_path: Path) -> None:
    owners = await keys.bootstrap("SG_chosenByTheOwner1")
    await accounts.create("acme")
    for key in (owners, await keys.create("acme")):
        assert key is not None
        for file in tmp_path.iterdir():
            assert key[:13].encode() not in file.read_bytes()


async def test_any_beginning_that_fits_one_key_alone_revokes_it(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    made = [await keys.create("acme") for _ in range(3)]
    for key, length in zip(made, (9, 20, len(made[2])), strict=True):
        entry = await keys.revoke(key[:length])
        assert entry.revoked is not None
        assert key.startswith(entry.prefix)
    for key in made:
        with pytest.raises(Unauthorized):
            await keys.authenticate(key)


async def test_a_beginning_that_fits_several_keys_revokes_none(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    made = [await keys.create("acme") for _ in range(2)]
    with pytest.raises(Conflict, match="2 keys begin with 'SG_'"):
        await keys.revoke("SG_")
    for key in made:
        assert await keys.authenticate(key)


async def test_capitals_and_wildcards_in_a_beginning_are_just_letters(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    key = await keys.create("acme")
    for beginning in (key[:9].swapcase(), "SG%", "SG_%", "%"):
        with pytest.raises(NotFound, match="No key in use begins"):
            await keys.revoke(beginning)
    assert await keys.authenticate(key)


async def test_revoking_needs_a_beginning_and_a_key_in_use(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    key = await keys.create("acme")
    with pytest.raises(BadRequest):
        await keys.revoke("")
    await keys.revoke(key)
    with pytest.raises(NotFound, match="No key in use begins"):
        await keys.revoke(key)


async def test_keys_are_listed_by_what_may_be_known_of_them(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    await accounts.create("other")
    first, second = await keys.create("acme"), await keys.create("other", Scope(replies="json"))
    await keys.revoke(first)
    entries = await keys.all()
    assert [(entry.account_name, entry.scope.replies, entry.revoked is None) for entry in entries] == [
        ("acme", None, False),
        ("other", "json", True),
    ]
    assert [entry.prefix for entry in await keys.all("other")] == [second[:12]]
    with pytest.raises(NotFound, match="nobody"):
        await keys.all("nobody")


async def test_an_empty_database_gets_an_owner_without_limit_and_one_key(keys: Keys) -> None:
    key = await keys.bootstrap()
    caller = await keys.authenticate(key)
    assert (caller.account_name, caller.unlimited) == ("owner", True)
    assert await keys.bootstrap() is None
    assert len(await keys.all()) == 1


async def test_the_owner_may_choose_the_first_key(keys: Keys) -> None:
    assert await keys.bootstrap("SG_chosenByTheOwner1") == "SG_chosenByTheOwner1"
    assert (await keys.authenticate("SG_chosenByTheOwner1")).unlimited


async def test_the_owner_is_made_also_beside_accounts_that_are_there(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
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


async def test_a_whole_key_revokes_itself_and_no_other(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    key = await keys.create("acme")
    with pytest.raises(NotFound):
        await keys.revoke(key[:-1] + ("a" if key[-1] != "a" else "b"))
    assert (await keys.revoke(key)).revoked


async def test_a_key_is_good_for_the_models_that_it_names(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    caller = await keys.authenticate(await keys.create("acme", Scope(models=("sdxl1.0-realvis", "sdxl-img2img"))))
    caller.require("sdxl-img2img")
    with pytest.raises(Forbidden, match=r"may not use 'sdxl1\.0-txt2img'; it may use sdxl1\.0-realvis, sdxl-img2img"):
        caller.require("sdxl1.0-txt2img")
    (await keys.authenticate(await keys.create("acme"))).require("sdxl1.0-txt2img")


async def test_a_key_ends_when_its_time_has_come(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    key = await keys.create("acme", Scope(expires=soon))
    assert (await keys.authenticate(key)).scope.expires == soon
    await asyncio.sleep(0.35)
    with pytest.raises(Unauthorized, match="expired"):
        await keys.authenticate(key)
    with pytest.raises(NotFound):
        await keys.rotate(key, datetime.now(UTC) + timedelta(hours=1))


async def test_a_key_that_has_ended_is_not_made(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    with pytest.raises(BadRequest, match="that is past"):
        await keys.create("acme", Scope(expires=datetime.now(UTC)))
    assert await keys.all() == []


async def test_a_rotated_key_and_the_new_one_overlap(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    scope = Scope(("sdxl1.0-realvis",), "9/minute", "image")
    old = await keys.create("acme", scope)
    new, entry = await keys.rotate(old[:10], datetime.now(UTC) + timedelta(seconds=0.3))
    assert entry.prefix == old[:12]
    assert entry.scope.expires is not None
    assert (await keys.authenticate(new)).scope == scope
    assert (await keys.authenticate(old)).account_name == "acme"
    await asyncio.sleep(0.35)
    with pytest.raises(Unauthorized, match="expired"):
        await keys.authenticate(old)
    assert (await keys.authenticate(new)).scope == scope


async def test_a_key_is_rotated_once_and_then_the_one_in_its_place(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    old = await keys.create("acme")
    until = datetime.now(UTC) + timedelta(hours=1)
    new, _ = await keys.rotate(old, until)
    with pytest.raises(Conflict, match="rotated before"):
        await keys.rotate(old, until)
    third, _ = await keys.rotate(new, until)
    assert (await keys.authenticate(third)).scope.expires is None


async def test_rotating_does_not_make_a_key_last_longer(keys: Keys, accounts: Accounts) -> None:
    await accounts.create("acme")
    end = datetime.now(UTC) + timedelta(hours=1)
    old = await keys.create("acme", Scope(expires=end))
    new, entry = await keys.rotate(old, datetime.now(UTC) + timedelta(days=2))
    assert entry.scope.expires == (await keys.authenticate(new)).scope.expires == end


async def test_when_a_key_was_last_used_is_known_to_a_minute(
    keys: Keys, accounts: Accounts, database: Database
) -> None:
    await accounts.create("acme")
    key = await keys.create("acme")
    assert [entry.used for entry in await keys.all()] == [None]
    before = datetime.now(UTC)
    await keys.authenticate(key)
    first = await used(keys)
    assert before <= first <= datetime.now(UTC)
    await keys.authenticate(key)
    await database.write(lambda _: None)  # whatever was to be written is
    assert await used(keys) == first
    an_hour_ago = first - timedelta(hours=1)
    await database.write(lambda connection: connection.execute(update(api_keys).values(used=an_hour_ago)))
    await keys.authenticate(key)
    await asyncio.sleep(0.05)
    assert await used(keys) > first


async def used(keys: Keys) -> datetime:
    """When the only key was, once that is written."""
    async with asyncio.timeout(5):
        while (moment := (await keys.all())[0].used) is None:
            await asyncio.sleep(0.01)
    return moment
