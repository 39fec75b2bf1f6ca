"""Retries are safe: a request that has a name is done once, however often it is sent."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from gesso.engine.fake import FakeEngine
from gesso.engine.messages import Pixels
from gesso.imaging.decode import Decoder
from gesso.storage.tables import jobs, ledger_entries
from tests.api.house import SMALL, TXT2IMG, House, data_uri

NAMED = {"idempotency-key": "order-1"}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[House]:
    """A server whose engine takes a while for each picture."""
    with House(tmp_path, FakeEngine(0.5), keep_pictures=1) as house:
        yield house


def ask(house: House, key: str, body: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
    return house.paint(body=body, **{"x-api-key": key, "idempotency-key": "order-1"} | headers)


def counts(house: House) -> tuple[int, int]:
    """Jobs, and charges."""
    charged = select(func.count()).where(ledger_entries.c.kind == "capture")
    return house.ask(select(func.count()).select_from(jobs)), house.ask(charged)


def test_fifty_equal_requests_at_once_are_one_job_one_charge_and_fifty_equal_answers(slow: House) -> None:
    key = slow.new_key("racer", credits=1)
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: ask(slow, key, {"prompt": "a boat", "samples": 2}), range(50)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert len({reply.headers["x-request-id"] for reply in replies}) == 50
    assert counts(slow) == (1, 1)
    assert slow.balance("racer") == pytest.approx(1 - replies[0].json()["cost"])
    assert replies[0].json()["seed"] == replies[49].json()["seed"]


def test_a_later_one_gets_the_same_answer_also_from_a_server_that_was_started_again(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        key = house.new_key("late", credits=1)
        first = ask(house, key)
        balance = house.balance("late")
    with House(tmp_path, public_url=house.url) as again:
        second = ask(again, key)
        assert second.json() == first.json()
        assert again.balance("late") == balance
        picture = ask(again, key, accept="image/png")
        assert picture.headers["content-type"] == "image/png"
        assert picture.headers["x-cost"] == second.headers["x-cost"]
        assert counts(again) == (1, 1)


def test_two_servers_on_one_database_do_it_once(tmp_path: Path, database_url: str) -> None:
    shared = {"database_url": database_url, "storage_url": str(tmp_path / "pictures")}
    with (
        House(tmp_path / "one", FakeEngine(1), **shared) as one,
        House(tmp_path / "other", FakeEngine(1), public_url=one.url, **shared) as other,
    ):
        key = one.new_key("twice", credits=1)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda number: ask((one, other)[number % 2], key), range(8)))
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.content for reply in replies}) == 1
        assert counts(one) == (1, 1)


def test_the_same_name_for_another_request_is_a_conflict(slow: House) -> None:
    key = slow.new_key("reusing", credits=1)
    waiting = threading.Thread(target=ask, args=(slow, key))
    waiting.start()
    while not slow.ask(select(func.count()).select_from(jobs)):
        continue
    for _ in range(2):  # in flight, and done
        reply = ask(slow, key, {**SMALL, "seed": 8})
        assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
        assert "another request" in reply.json()["error"]
        waiting.join()
    assert slow.paint("sdxl1.0-realvis", **{"x-api-key": key} | NAMED).status_code == 409
    assert counts(slow) == (1, 1)


def test_how_the_json_is_laid_out_does_not_count(slow: House) -> None:
    key = slow.new_key("layout", credits=1)
    said = [json.dumps(SMALL, indent=4), json.dumps(dict(reversed(SMALL.items())))]
    headers = {"x-api-key": key} | NAMED
    replies = [slow.client.post(f"/v1/{TXT2IMG}", content=text, headers=headers) for text in said]
    assert replies[0].json() == replies[1].json()
    assert counts(slow) == (1, 1)


def test_names_are_an_accounts_own(slow: House) -> None:
    replies = [ask(slow, slow.new_key(name, credits=1)) for name in ("mine", "yours")]
    assert replies[0].json()["image"] != replies[1].json()["image"]
    assert counts(slow) == (2, 2)


def test_a_request_that_failed_leaves_its_name(slow: House) -> None:
    key = slow.new_key("poor", credits=0)
    assert ask(slow, key).status_code == 406
    assert ask(slow, key, {**SMALL, "samples": 9}).status_code == 400
    slow.give("poor", 1)
    assert ask(slow, key).status_code == 200
    assert counts(slow) == (1, 1)


def test_a_job_goes_on_for_the_second_when_the_first_hangs_up(slow: House) -> None:
    key = slow.new_key("leaving", credits=1)

    def leave() -> None:
        with pytest.raises(httpx2.ReadTimeout):
            slow.client.post(f"/v1/{TXT2IMG}", json=SMALL, headers={"x-api-key": key} | NAMED, timeout=0.2)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(leave), pool.submit(ask, slow, key)
        first.result()
        assert second.result().status_code == 200
    assert counts(slow) == (1, 1)


def test_a_start_image_is_read_once(slow: House, monkeypatch: pytest.MonkeyPatch) -> None:
    key, read = slow.new_key("redraw", credits=1), list[bytes]()
    decode = Decoder.decode

    async def counted(decoder: Decoder, data: bytes) -> Pixels:
        read.append(data)
        return await decode(decoder, data)

    monkeypatch.setattr(Decoder, "decode", counted)
    body = {"image": data_uri(512, 512), "prompt": "a boat"}
    headers = {"x-api-key": key, "accept": "application/json"} | NAMED
    replies = [slow.paint("sdxl-img2img", body, **headers) for _ in range(2)]
    assert replies[0].json() == replies[1].json()
    assert len(read) == 1


@pytest.mark.parametrize("name", ["", "a b", "x" * 256, "caf\u00e9"])
def test_what_cannot_be_a_name_is_told(slow: House, name: str) -> None:
    headers = {"idempotency-key": name.encode(), "x-api-key": slow.key.encode()}
    reply = slow.client.post(f"/v1/{TXT2IMG}", json=SMALL, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad_request")
    assert "Idempotency-Key" in reply.json()["error"]
    assert counts(slow) == (0, 0)


def test_when_the_pictures_are_gone_the_answer_says_so(slow: House) -> None:
    key = slow.new_key("forgetful", credits=1)
    token = ask(slow, key).json()["image"].rpartition("/")[2].removesuffix(".png")
    slow.do(slow.pictures.delete(token))
    assert (ask(slow, key).status_code, counts(slow)) == (404, (1, 1))
