"""Errors: each has its status, its code and the same body, and nothing that is not a success is charged."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from gesso import errors
from gesso.api.problems import ANSWERS
from gesso.engine.fake import FakeEngine
from gesso.engine.messages import Admitted, Event, Paint
from tests.api.house import SMALL, TXT2IMG, House


class FailingEngine(FakeEngine):
    """Takes each request and fails it the same way."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        yield Admitted(request.id)
        raise self.error


def problem(reply: httpx2.Response, status: int, code: str) -> str:
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    content = reply.json()
    assert set(content) == {"error", "code", "request_id", "details"}
    assert content["code"] == code
    assert content["request_id"] == reply.headers["x-request-id"]
    assert "Traceback" not in content["error"]
    return str(content["error"])


def test_an_unknown_slug_is_not_found_and_the_known_ones_are_named(house: House) -> None:
    assert TXT2IMG in problem(house.paint("sdxl2.0"), 404, "not_found")


def test_an_unknown_address_is_not_found(house: House) -> None:
    for path in ("/nowhere", "/v1", "/v1/", "/v1/a/b", "/docs/x", "/images/x", "/favicon.ico"):
        problem(house.client.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_not_allowed_and_the_allowed_one_is_named(house: House, method: str) -> None:
    reply = house.client.request(method, f"/v1/{TXT2IMG}")
    assert problem(reply, 405, "method_not_allowed") == f"{method} is not possible here; allowed: POST."
    assert reply.headers["allow"] == "POST"


def test_too_few_credits_are_406_with_balance_and_cost(house: House) -> None:
    key = house.new_key("poor", credits=0.001)
    sentence = problem(house.paint(**{"x-api-key": key}), 406, "insufficient_credits")
    assert "0.001" in sentence
    assert "0.002" in sentence


def test_a_bad_request_is_not_charged(house: House) -> None:
    key = house.new_key("careless", credits=1)
    problem(house.paint(body={}, **{"x-api-key": key}), 400, "bad_request")
    assert house.balance("careless") == 1


@pytest.mark.parametrize(
    ("error", "status", "code", "sentence"),
    [
        (errors.ServiceUnavailable("weights.safetensors is missing"), 502, "service_unavailable", "weights"),
        (errors.PaintingFailed("the latents became NaN"), 500, "server_error", "NaN"),
        (errors.BadRequest("cannot be painted so"), 400, "bad_request", "cannot be painted so"),
        (errors.QueueFull("full", retry_after=3), 429, "queue_full", "full"),
        (RuntimeError("secret: /etc/passwd"), 500, "server_error", "Something went wrong on the server's side"),
    ],
)
def test_what_the_engine_says_is_passed_on_and_not_charged(
    tmp_path: Path, error: Exception, status: int, code: str, sentence: str
) -> None:
    with House(tmp_path, FailingEngine(error)) as house:
        key = house.new_key("customer", credits=1)
        said = problem(house.paint(**{"x-api-key": key}), status, code)
        assert said.startswith(sentence) or sentence in said
        assert "secret" not in said
        assert house.balance("customer") == 1


def test_what_nobody_foresaw_is_logged_with_its_place_and_request_id_but_without_the_request(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with House(tmp_path, FailingEngine(RuntimeError("the unforeseen"))) as house:
        reply = house.paint(body=SMALL | {"prompt": "a private matter"})
    log = capfd.readouterr().out
    (line,) = (line for line in log.splitlines() if "unexpected error" in line)
    assert reply.headers["x-request-id"] in line
    assert "RuntimeError: the unforeseen" in log
    assert "test_errors.py" in log
    assert "private matter" not in log


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.ServiceUnavailable("loading", retry_after=30), "30"),
        (errors.ServiceUnavailable("gone"), None),
        (errors.QueueFull("full", retry_after=7), "7"),
    ],
)
def test_where_waiting_helps_retry_after_says_how_long(tmp_path: Path, error: Exception, seconds: str | None) -> None:
    with House(tmp_path, FailingEngine(error)) as house:
        assert house.paint().headers.get("retry-after") == seconds


def test_a_full_queue_is_429_with_retry_after(tmp_path: Path) -> None:
    with House(tmp_path, FakeEngine(0.5), queue_per_account=2) as house, ThreadPoolExecutor(6) as threads:
        replies = list(threads.map(lambda seed: house.paint(body=SMALL | {"seed": seed}), range(6)))
    assert sorted(reply.status_code for reply in replies) == [200, 200, 429, 429, 429, 429]
    for reply in replies:
        if reply.status_code == 429:
            problem(reply, 429, "queue_full")
            assert int(reply.headers["retry-after"]) >= 1


def test_every_kind_of_error_has_an_answer() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GessoError)}
    assert kinds - set(ANSWERS) == {errors.GessoError, errors.SettingsError}
