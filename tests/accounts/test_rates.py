"""Rates: what is one, and that no more requests are taken than a key's and its account's allow."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gesso.accounts.accounts import Allowance
from gesso.accounts.keys import Caller, Scope
from gesso.accounts.rate_limits import Rates, Standing, open_rates
from gesso.accounts.rates import check_rate, read_rate
from gesso.errors import BadRequest, ServiceUnavailable, SettingsError
from tests.redis_server import RedisServer

Opening = Callable[..., Rates]


@pytest.fixture(params=["memory", "redis"])
def redis_url(request: pytest.FixtureRequest) -> str | None:
    """None: rates are counted in memory."""
    if request.param == "memory":
        return None
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
async def opened() -> AsyncIterator[Opening]:
    """`open_rates`, whose results are closed after the test."""
    async with AsyncExitStack() as stack:

        def opened(redis_url: str | None, default: str | None = None) -> Rates:
            rates = open_rates(default, redis_url)
            stack.push_async_callback(rates.close)
            return rates

        yield opened


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be stopped."""
    with RedisServer(tmp_path) as server:
        yield server


def caller(key: int = 1, account: int = 1, *, rate: str | None = None, account_rate: str | None = None) -> Caller:
    """By whose key, and the rates of both."""
    return Caller(account, f"account {account}", "member", False, Allowance(rate=account_rate), key, Scope(rate=rate))


async def hit(rates: Rates, who: Caller) -> Standing:
    """For callers that have a rate."""
    standing = await rates.hit(who)
    assert standing is not None
    return standing


async def is_taken(rates: Rates, who: Caller) -> bool:
    return (await hit(rates, who)).refusal is None


async def remaining(rates: Rates, who: Caller) -> int:
    standing = await rates.look(who)
    assert standing is not None
    return standing.remaining


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [
        ("2/minute", 2, 60),
        ("60/Minutes", 60, 60),
        ("1 per second", 1, 1),
        ("100 per 5 minutes", 100, 300),
        ("100/5minutes", 100, 300),
        ("7/hour", 7, 3600),
        ("999999/day", 999_999, 86_400),
        ("3/month", 3, 30 * 86_400),
    ],
)
def test_a_rate_is_written_as_people_say_it(rate: str, amount: int, seconds: int) -> None:
    read = read_rate(rate)
    assert (read.amount, read.get_expiry()) == (amount, seconds)
    check_rate(rate)


@pytest.mark.parametrize(
    "rate",
    [
        "",
        " ",
        "often",
        "2",
        "/minute",
        "2/fortnight",
        "0/minute",
        "00/minute",
        "-1/minute",
        "+1/minute",
        "1.5/minute",
        "1e3/minute",
        "2/0 minutes",
        "2/-1 minutes",
        "2/minute;5/hour",
        "2/minute,5/hour",
        "2/minute|5/hour",
        "2/minute 5/hour",
        "2/minute;",
        "2/minute\n",
        " 2/minute",
        "1000000/minute",
        "9" * 5000 + "/minute",
        "2/1000 years",
        "٢/minute",
        "2/\u017fecond",
    ],
)
def test_what_is_not_one_rate_above_zero_is_refused(rate: str) -> None:
    with pytest.raises(BadRequest, match="is not a rate"):
        read_rate(rate)
    with pytest.raises(BadRequest, match="is not a rate"):
        check_rate(rate)
    with pytest.raises(SettingsError, match="setting rate"):
        open_rates(rate, None)


def test_the_longest_time_has_an_end_that_can_be_told() -> None:
    assert datetime.now(UTC) + timedelta(seconds=read_rate("1/999 years").get_expiry())


async def test_as_many_are_taken_as_the_rate_says(opened: Opening, redis_url: str | None) -> None:
    rates, who = opened(redis_url), caller(rate="3/minute")
    assert [await is_taken(rates, who) for _ in range(5)] == [True, True, True, False, False]


async def test_the_window_slides(opened: Opening, redis_url: str | None) -> None:
    rates, who = opened(redis_url), caller(account_rate="2/2 seconds")
    assert await is_taken(rates, who)
    await asyncio.sleep(1.2)
    assert await is_taken(rates, who)
    assert not await is_taken(rates, who)
    await asyncio.sleep(1)  # the first has left, the second has not
    assert [await is_taken(rates, who) for _ in range(2)] == [True, False]


async def test_who_waits_as_long_as_was_said_is_taken(opened: Opening, redis_url: str | None) -> None:
    rates, who = opened(redis_url), caller(rate="1/2 seconds")
    assert await is_taken(rates, who)
    refusal = (await hit(rates, who)).refusal
    assert refusal is not None
    assert refusal.retry_after in (1, 2)
    assert refusal.sentence.startswith("The rate of this key, 1/2 seconds, is used up")
    await asyncio.sleep(refusal.retry_after)
    assert await is_taken(rates, who)


async def test_a_standing_says_what_is_left_and_when_there_is_more(opened: Opening, redis_url: str | None) -> None:
    rates, who = opened(redis_url), caller(rate="3/minute")
    untouched = await rates.look(who)
    assert untouched is not None
    assert (untouched.remaining, untouched.refusal) == (3, None)
    assert abs(untouched.reset - datetime.now(UTC)) <= timedelta(seconds=1)
    came = datetime.now(UTC)
    standings = [await hit(rates, who) for _ in range(4)]
    assert [one.remaining for one in standings] == [2, 1, 0, 0]
    for one in standings:
        assert timedelta(seconds=59) < one.reset - came < timedelta(seconds=62)
        assert one.reset.microsecond == 0
    assert standings[-1].refusal is not None
    assert 58 <= standings[-1].refusal.retry_after <= 60


async def test_after_the_window_all_is_as_at_first(opened: Opening, redis_url: str | None) -> None:
    rates, who = opened(redis_url), caller(rate="2/second")
    await hit(rates, who)
    await asyncio.sleep(1.1)
    standing = await rates.look(who)
    assert standing is not None
    assert standing.remaining == 2
    assert abs(standing.reset - datetime.now(UTC)) <= timedelta(seconds=1)


async def test_looking_counts_nothing(opened: Opening, redis_url: str | None) -> None:
    rates, who = opened(redis_url), caller(rate="1/minute", account_rate="1/minute")
    for _ in range(3):
        assert await remaining(rates, who) == 1
    assert await is_taken(rates, who)


async def test_of_two_rates_the_tighter_is_told(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    assert (await hit(rates, caller(1, 1, rate="9/minute", account_rate="4/hour"))).remaining == 3
    assert (await hit(rates, caller(2, 2, rate="4/minute", account_rate="9/hour"))).remaining == 3
    both = await hit(rates, caller(3, 3, rate="1/minute", account_rate="1/hour"))
    assert both.remaining == 0
    assert both.reset > datetime.now(UTC) + timedelta(minutes=59)


async def test_the_keys_of_an_account_share_its_rate_and_have_their_own(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    one, other = (caller(key, rate="2/minute", account_rate="3/minute") for key in (1, 2))
    assert [await is_taken(rates, one) for _ in range(3)] == [True, True, False]
    assert [await is_taken(rates, other) for _ in range(2)] == [True, False]
    refusal = (await hit(rates, other)).refusal
    assert refusal is not None
    assert "this account, 3/minute" in refusal.sentence


async def test_another_account_is_untouched(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    assert [await is_taken(rates, caller(1, 1, account_rate="1/minute")) for _ in range(2)] == [True, False]
    assert await is_taken(rates, caller(2, 2, account_rate="1/minute"))


async def test_a_key_and_an_account_of_one_number_are_two(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    assert await is_taken(rates, caller(key=5, account=6, rate="1/minute"))
    assert await is_taken(rates, caller(key=6, account=5, account_rate="1/minute"))


async def test_what_the_account_refuses_is_not_counted_for_the_key(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    both, key_alone = caller(rate="5/hour", account_rate="2/hour"), caller(rate="5/hour")
    assert [await is_taken(rates, both) for _ in range(6)] == [True, True, False, False, False, False]
    assert await remaining(rates, key_alone) == 3


async def test_what_the_key_refuses_is_not_counted_for_the_account(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    both, account_alone = caller(rate="2/hour", account_rate="5/hour"), caller(account_rate="5/hour")
    assert [await is_taken(rates, both) for _ in range(6)] == [True, True, False, False, False, False]
    assert await remaining(rates, account_alone) == 3


async def test_of_many_at_once_exactly_as_many_are_taken_and_counted(opened: Opening, redis_url: str | None) -> None:
    servers = [opened(redis_url)] if redis_url is None else [opened(redis_url), opened(redis_url)]
    keys = [caller(key, rate="8/hour", account_rate="10/hour") for key in (1, 2)]
    asked = [(server, key) for server in servers for key in keys for _ in range(40)]
    taken = await asyncio.gather(*(is_taken(server, key) for server, key in asked))
    assert sum(taken) == 10
    for key in keys:
        mine = sum(is_mine for is_mine, (_, who) in zip(taken, asked, strict=True) if who is key)
        alone = caller(key.key_id, rate="8/hour")
        assert [await remaining(server, alone) for server in servers] == [8 - mine] * len(servers)


async def test_a_flood_that_one_key_is_refused_turns_no_other_key_away(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    flooding, modest = (caller(key, rate=f"{key}/hour", account_rate="5/hour") for key in (1, 4))
    assert await is_taken(rates, flooding)
    asked = [flooding] * 30 + [modest] * 4 + [flooding] * 30
    taken = await asyncio.gather(*(is_taken(rates, who) for who in asked))
    assert [is_mine for is_mine, who in zip(taken, asked, strict=True) if who is modest] == [True] * 4


async def test_servers_at_one_redis_count_together(opened: Opening, redis_server: RedisServer) -> None:
    one, other = opened(redis_server.url), opened(redis_server.url)
    who = caller(rate="3/minute")
    assert [await is_taken(rates, who) for rates in (one, other, one, other, one)] == [True, True, True, False, False]


async def test_an_account_without_a_rate_has_the_servers(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url, "2/minute")
    assert [await is_taken(rates, caller()) for _ in range(3)] == [True, True, False]
    assert (await hit(rates, caller(2, 2, account_rate="50/minute"))).remaining == 49
    assert (await hit(rates, caller(3, 3, rate="1/minute"))).remaining == 0


async def test_without_a_rate_nothing_is_asked_of_anybody(opened: Opening) -> None:
    rates = opened("redis://127.0.0.1:1/0")
    assert await rates.hit(caller()) is None
    assert await rates.look(caller()) is None


async def test_a_changed_rate_holds_at_once(opened: Opening, redis_url: str | None) -> None:
    rates = opened(redis_url)
    assert [await is_taken(rates, caller(rate="1/hour")) for _ in range(2)] == [True, False]
    assert await is_taken(rates, caller(rate="2/hour"))


async def test_without_its_redis_nothing_is_let_through_until_it_is_back(
    opened: Opening, own_redis: RedisServer
) -> None:
    rates, who = opened(own_redis.url), caller(rate="2/minute")
    assert await is_taken(rates, who)
    own_redis.stop()
    for asking in (rates.hit, rates.look):
        with pytest.raises(ServiceUnavailable, match="Redis cannot be used") as error:
            await asking(who)
        assert error.value.retry_after == 5
        assert "127.0.0.1" not in error.value.sentence
    own_redis.start()
    assert [await is_taken(rates, who) for _ in range(3)] == [True, True, False]  # it has forgotten the first


async def test_a_redis_that_does_not_answer_is_waited_for_a_little(opened: Opening, own_redis: RedisServer) -> None:
    rates, who = opened(own_redis.url), caller(rate="100/minute")
    await hit(rates, who)
    own_redis.freeze()
    began = time.monotonic()
    refused = await asyncio.gather(*(rates.hit(who) for _ in range(80)), return_exceptions=True)
    assert {type(one) for one in refused} == {ServiceUnavailable}
    assert time.monotonic() - began < 8
    own_redis.thaw()
    with suppress(ServiceUnavailable):  # it may still be busy with what nobody waits for any more
        await hit(rates, who)
    assert await is_taken(rates, who)


async def test_a_server_may_start_before_its_redis(opened: Opening, own_redis: RedisServer) -> None:
    own_redis.stop()
    rates, who = opened(own_redis.url), caller(rate="1/minute")
    with pytest.raises(ServiceUnavailable):
        await rates.hit(who)
    own_redis.start()
    assert [await is_taken(rates, who) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "localhost:6379",
        "redis://",
        "redis:///0",
        "http://host:6379",
        "unix:///run/redis.sock",
        "redis://host:port/0",
        "redis://host:99999/0",
        "redis://host:0/0",
        "redis://host:6379/first",
        "redis://host:6379/0/1",
        "redis://host:6379/0?socket_timeout=long",
        "redis://host:6379/0?colour=red",
        "redis://:hunter2/@host:6379/0",
    ],
)
def test_what_is_no_address_of_a_redis_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="setting redis_url") as error:
        open_rates(None, url)
    assert "hunter2" not in error.value.sentence


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host/3", "redis://user:pass@host:6379/0", "rediss://[::1]:6380/0"]
)
async def test_an_address_of_a_redis_is_not_asked_at_the_start(opened: Opening, url: str) -> None:
    opened(url)
