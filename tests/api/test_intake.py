"""Bodies that are too large are refused, however they are announced, and the sender hears why."""

import json
import threading
from collections.abc import Iterator

import pytest

from tests.api.house import SMALL, TXT2IMG, House

LIMIT = 100_000


@pytest.fixture(scope="module")
def narrow_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), body_limit=LIMIT) as house:
        yield house


def padded(size: int) -> bytes:
    body = json.dumps(SMALL).encode()
    return body + b" " * (size - len(body))


def pieces(data: bytes) -> Iterator[bytes]:
    """Sent without a length, as chunks."""
    for start in range(0, len(data), 9973):
        yield data[start : start + 9973]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_just_the_limit_is_taken(narrow_house: House, chunked: bool) -> None:
    data = padded(LIMIT)
    reply = narrow_house.client.post(f"/v1/{TXT2IMG}", content=pieces(data) if chunked else data)
    assert reply.status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 5])
def test_a_body_beyond_the_limit_is_413(narrow_house: House, size: int, chunked: bool) -> None:
    data = padded(size)
    reply = narrow_house.client.post(f"/v1/{TXT2IMG}", content=pieces(data) if chunked else data)
    assert reply.status_code == 413
    assert reply.json()["code"] == "too_large"
    assert str(LIMIT) in reply.json()["error"]
    assert reply.headers["x-request-id"] == reply.json()["request_id"]


def test_a_sender_whose_key_is_wrong_hears_so_even_in_the_middle_of_a_large_body(house: House) -> None:
    reply = house.client.post(f"/v1/{TXT2IMG}", content=padded(20_000_000), headers={"x-api-key": "SG_wrong"})
    assert reply.status_code == 401


def test_many_large_bodies_at_once_are_all_answered(narrow_house: House) -> None:
    statuses: list[int] = []

    def send() -> None:
        statuses.append(narrow_house.client.post(f"/v1/{TXT2IMG}", content=padded(LIMIT * 3)).status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [413] * 8
