"""Every response has a request id, and the log has one line per request that gives nothing away."""

import time

import pytest

from tests.api.house import SMALL, TXT2IMG, House, data_uri

EVERYWHERE = [
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/nowhere"),
    ("POST", "/livez"),
    ("GET", f"/v1/{TXT2IMG}"),
    ("POST", f"/v1/{TXT2IMG}"),
    ("GET", "/images/x.png"),
    ("HEAD", "/"),
]


def logged(capfd: pytest.CaptureFixture[str], request_id: str) -> str:
    """The log up to the line of this request, which is written once its reply is on its way."""
    log = ""
    for _ in range(500):
        log += "".join(capfd.readouterr())
        if request_id in log:
            return log
        time.sleep(0.01)
    raise AssertionError(f"nothing about {request_id} in the log: {log}")


@pytest.mark.parametrize(("method", "path"), EVERYWHERE)
def test_every_response_has_a_request_id_of_its_own(house: House, method: str, path: str) -> None:
    first, second = (house.client.request(method, path).headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_success_has_a_request_id_in_every_form(house: House) -> None:
    for accept in ("application/json", "image/png"):
        assert house.paint(Accept=accept).headers["x-request-id"]


def test_the_log_has_one_line_for_each_request_with_its_id(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    reply = house.client.get("/livez")
    lines = logged(capfd, reply.headers["x-request-id"]).splitlines()
    (line,) = (line for line in lines if reply.headers["x-request-id"] in line)
    for fact in ("method=GET", "path=/livez", "status=200", "seconds="):
        assert fact in line


def test_the_log_gives_away_neither_prompts_nor_images_nor_keys_nor_addresses(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    image = data_uri(512, 512)
    reply = house.paint(body=SMALL | {"prompt": "a secret prompt"})
    house.paint("sdxl-img2img", {"prompt": "a secret prompt", "image": image})
    house.paint(body={"prompt": "a secret prompt", "samples": 99})
    last = house.client.get(reply.json()["image"])
    log = logged(capfd, last.headers["x-request-id"])
    assert log.count("path=/v1/") >= 3
    for secret in ("secret prompt", image[:60], house.key, reply.json()["image"].rpartition("/")[2]):
        assert secret not in log


def test_the_log_has_nothing_that_a_terminal_would_obey(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    reply = house.client.get("/%1b%5B31mred%07")
    log = logged(capfd, reply.headers["x-request-id"])
    assert "\x1b" not in log
    assert "\x07" not in log
