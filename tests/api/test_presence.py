"""Abandoned work stops, and so does work that takes too long; neither is charged."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gesso.engine.fake import FakeEngine
from tests.api.house import SMALL, TXT2IMG, House, data_uri


@pytest.fixture
def slow_house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, FakeEngine(0.5), request_timeout=1.0) as house:
        yield house


def request_bytes(house: House, key: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /v1/{TXT2IMG} HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def connected(house: House) -> socket.socket:
    parts = urlsplit(house.url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)))


def settled(house: House, account: str) -> float:
    """The balance once nothing of it is reserved any more, or after ten seconds."""
    for _ in range(500):
        if (balance := house.balance(account)) == 1:
            break
        time.sleep(0.02)
    return balance


def test_a_client_that_hangs_up_is_not_painted_for_and_not_charged(slow_house: House) -> None:
    key = slow_house.new_key("hasty", credits=1)
    with connected(slow_house) as client:
        client.sendall(request_bytes(slow_house, key, SMALL | {"samples": 4}))
        while slow_house.balance("hasty") == 1:
            time.sleep(0.01)
    assert settled(slow_house, "hasty") == 1
    images = slow_house.engine.state.ticks
    time.sleep(0.7)
    assert slow_house.engine.state.ticks == images < 4


def test_a_client_that_hangs_up_in_the_middle_of_its_body_costs_nothing(slow_house: House) -> None:
    key = slow_house.new_key("torn", credits=1)
    with connected(slow_house) as client:
        client.sendall(request_bytes(slow_house, key, SMALL)[:-10])
    time.sleep(0.1)
    assert slow_house.balance("torn") == 1
    assert slow_house.engine.state.ticks == 0


def test_a_request_that_outlives_its_deadline_is_504_stopped_and_not_charged(slow_house: House) -> None:
    key = slow_house.new_key("patient", credits=1)
    reply = slow_house.paint(body=SMALL | {"samples": 4}, **{"x-api-key": key})
    assert reply.status_code == 504
    assert reply.json()["code"] == "timeout"
    assert slow_house.balance("patient") == 1
    images = slow_house.engine.state.ticks
    time.sleep(0.7)
    assert slow_house.engine.state.ticks == images < 4


def test_the_deadline_holds_for_the_start_image_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.png"
        with House(tmp_path, request_timeout=0.4, fetch_allow=("127.0.0.1",)) as house:
            reply = house.paint("sdxl-img2img", {"prompt": "x", "image": url})
    assert reply.status_code == 504


def test_a_body_that_never_ends_is_504(slow_house: House) -> None:
    with connected(slow_house) as client:
        client.sendall(request_bytes(slow_house, slow_house.key, SMALL)[:-10])
        assert client.recv(100).startswith(b"HTTP/1.1 504")


def test_a_client_that_stays_gets_its_picture_over_a_connection_that_goes_on(house: House) -> None:
    for colour in ("red", "green", "blue"):
        reply = house.paint("sdxl-img2img", {"prompt": "x", "image": data_uri(512, 512, colour)})
        assert reply.status_code == 200
