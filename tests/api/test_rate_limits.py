"""Rates over HTTP: what is beyond them is told when to come again, and every answer says what is left."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from gesso.accounts.accounts import Allowance
from gesso.accounts.keys import Scope
from tests.api.house import SMALL, TXT2IMG, House
from tests.redis_server import RedisServer

REMAINING, RESET = "x-rate-limit-remaining", "x-rate-limit-reset-at-utc"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be stopped."""
    with RedisServer(tmp_path) as server:
        yield server


def seconds_until(stamp: str) -> float:
    return (datetime.fromisoformat(stamp) - datetime.now(UTC)).total_seconds()


def test_every_answer_says_what_is_left(house: House) -> None:
    key = {"x-api-key": house.new_key("counted", scope=Scope(rate="5/hour"), allowance=Allowance(rate="50/hour"))}
    replies = [
        house.paint(**key),
        house.paint(body={"samples": 9}, **key),
        house.paint("no-such-slug", **key),
        house.client.post(f"/v1/{TXT2IMG}?dry_run=true", json=SMALL, headers=key),
    ]
    assert [reply.status_code for reply in replies[:3]] == [200, 400, 404]
    assert [reply.headers[REMAINING] for reply in replies] == ["4", "3", "2", "1"]
    for reply in replies:
        assert reply.headers[RESET].endswith("+00:00")
        assert 3590 < seconds_until(reply.headers[RESET]) <= 3601


def test_reading_is_not_counted(house: House) -> None:
    key = {"x-api-key": house.new_key("reader", scope=Scope(rate="1/hour"))}
    for path in ("/v1/nothing", "/metrics", f"/v1/{TXT2IMG}"):
        reply = house.client.get(path, headers=key)
        assert reply.headers[REMAINING] == "1"
        assert seconds_until(reply.headers[RESET]) <= 1
    assert house.paint(**key).status_code == 200


def test_beyond_the_rate_it_is_said_when_to_come_again(house: House) -> None:
    key = {"x-api-key": house.new_key("hasty", credits=1, scope=Scope(rate="1/minute"))}
    assert house.paint(**key).status_code == 200
    paid = house.balance("hasty")
    reply = house.paint(**key)
    assert reply.status_code == 429
    content = reply.json()
    assert content["code"] == "rate_limited"
    assert content["error"].startswith("The rate of this key, 1/minute, is used up")
    assert content["request_id"] == reply.headers["x-request-id"]
    assert 50 <= int(reply.headers["Retry-After"]) <= 60
    assert reply.headers[REMAINING] == "0"
    assert abs(seconds_until(reply.headers[RESET]) - int(reply.headers["Retry-After"])) <= 2
    assert house.balance("hasty") == paid


def test_a_refused_body_is_read_to_its_end(house: House) -> None:
    key = {"x-api-key": house.new_key("wordy", scope=Scope(rate="1/hour"))}
    house.paint(**key)
    assert house.paint(body=SMALL | {"negative_prompt": "x" * 8_000_000}, **key).status_code == 429


def test_of_fifty_at_once_ten_are_taken(house: House) -> None:
    key = {"x-api-key": house.new_key("crowd", allowance=Allowance(rate="10/minute", waiting=50))}
    with ThreadPoolExecutor(50) as many:
        replies = [*many.map(lambda _: house.paint(**key), range(50))]
    statuses = [reply.status_code for reply in replies]
    assert (statuses.count(200), statuses.count(429)) == (10, 40)
    assert {reply.json()["code"] for reply in replies if reply.status_code == 429} == {"rate_limited"}


def test_without_a_rate_nothing_is_said(house: House) -> None:
    for reply in (house.paint(), house.client.get("/metrics"), house.client.get("/livez")):
        assert reply.is_success
        assert not {REMAINING, RESET} & set(reply.headers)


def test_the_servers_rate_holds_for_whoever_has_none(tmp_path: Path) -> None:
    with House(tmp_path, rate="1/hour") as house:
        assert [house.paint().status_code for _ in range(2)] == [200, 429]
        own = {"x-api-key": house.new_key("patron", allowance=Allowance(rate="9/hour"))}
        assert house.paint(**own).headers[REMAINING] == "8"
        stranger = httpx2.post(f"{house.url}/v1/{TXT2IMG}", json=SMALL)
        assert stranger.status_code == 401
        assert REMAINING not in stranger.headers
        assert REMAINING not in house.client.get("/livez").headers


def test_two_servers_at_one_redis_count_together(tmp_path: Path, redis_server: RedisServer) -> None:
    settings = {"rate": "3/hour", "redis_url": redis_server.url}
    with House(tmp_path / "one", **settings) as one, House(tmp_path / "other", **settings) as other:
        asked = (one, other, other, one, other)
        assert [house.paint().status_code for house in asked] == [200, 200, 200, 429, 429]


def test_without_its_redis_nothing_is_painted_unlimited(tmp_path: Path, own_redis: RedisServer) -> None:
    with House(tmp_path / "house", rate="5/hour", redis_url=own_redis.url) as house:
        assert house.paint().headers[REMAINING] == "4"
        own_redis.stop()
        reply = house.paint()
        assert (reply.status_code, reply.json()["code"]) == (502, "service_unavailable")
        assert reply.headers["Retry-After"] == "5"
        assert REMAINING not in reply.headers
        read = house.client.get("/metrics")
        assert read.status_code == 200
        assert REMAINING not in read.headers
        own_redis.start()
        assert house.paint().status_code == 200


def test_the_interface_says_so(house: House) -> None:
    responses = house.client.get("/openapi.json").json()["components"]["responses"]
    assert "`queue_full`" in responses["429"]["description"]
    assert "`rate_limited`" in responses["429"]["description"]
    assert {REMAINING, RESET} <= set(responses["429"]["headers"])
    painting = house.client.get("/openapi.json").json()["paths"][f"/v1/{TXT2IMG}"]["post"]["responses"]
    assert {REMAINING, RESET} <= set(painting["200"]["headers"])
