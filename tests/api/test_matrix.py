"""Every route with every kind of key: who is let in, whose key does not count, and whose is not enough."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update

from gesso.accounts.keys import Scope
from gesso.api.openapi import document
from gesso.catalogue.catalogue import load_catalogue
from gesso.storage.tables import api_keys
from tests.api.house import SMALL, House, data_uri

CATALOGUE = load_catalogue()
DOCUMENTED = {
    (method.upper(), path): route
    for path, methods in document(CATALOGUE, "http://x")["paths"].items()
    for method, route in methods.items()
    if method in ("get", "post", "put", "delete")
}
OPEN = {route for route, told in DOCUMENTED.items() if told.get("security") == []}
PAINTING = {("POST", f"/v1/{slug}") for slug in CATALOGUE.endpoints}
OWNERS = {("GET", "/metrics")}
ONE_MODEL = "sdxl1.0-realvis"


def never(house: House) -> None:
    """No key at all."""
    return


def unknown(house: House) -> str:
    return "SG_" + "0" * 40


def revoked(house: House) -> str:
    key = house.new_key("revoked")
    house.do(house.keys.revoke(key))
    return key


def expired(house: House) -> str:
    key = house.new_key("expired", scope=Scope(expires=datetime.now(UTC) + timedelta(hours=1)))
    past = update(api_keys).where(api_keys.c.prefix == key[:12]).values(expires=datetime.now(UTC))
    house.write(lambda connection: connection.execute(past))
    return key


def rotated(house: House) -> str:
    key = house.new_key("rotated")
    house.do(house.keys.rotate(key, datetime.now(UTC)))
    return key


def of_one_model(house: House) -> str:
    return house.new_key("narrow", scope=Scope(models=(ONE_MODEL,)))


def of_a_member(house: House) -> str:
    return house.new_key("member")


def of_the_owner(house: House) -> str:
    return house.key


WORTHLESS = [never, unknown, revoked, expired, rotated]
KINDS = [*WORTHLESS, of_one_model, of_a_member, of_the_owner]


def expected(route: tuple[str, str], kind: Callable[[House], str | None]) -> int:
    if route in OPEN:
        return 404 if "{token}" in route[1] else 200
    if kind in WORTHLESS:
        return 401
    if route in OWNERS:
        return 200 if kind is of_the_owner else 403
    return 403 if kind is of_one_model and not route[1].endswith(ONE_MODEL) else 200


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("matrix")) as house:
        yield house


@pytest.fixture(scope="module")
def keys(own: House) -> dict[str, str | None]:
    return {kind.__name__: kind(own) for kind in KINDS}


def test_every_route_is_documented_and_has_a_row(own: House) -> None:
    assert DOCUMENTED.keys() == OPEN | PAINTING | OWNERS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("route", DOCUMENTED, ids=" ".join)
def test_who_is_let_in(
    route: tuple[str, str], kind: Callable[[House], str | None], own: House, keys: dict[str, str | None]
) -> None:
    method, path = route
    key = keys[kind.__name__]
    body = SMALL | ({"image": data_uri(512, 512)} if "img2img" in path else {})
    reply = httpx2.request(
        method,
        own.url + path.replace("{token}", "0" * 48),
        json=body if method == "POST" else None,
        headers={"x-api-key": key} if key else {},
    )
    assert reply.status_code == expected(route, kind), reply.text
    assert key is None or key not in reply.text


def test_a_key_is_in_no_log_and_no_file(
    own: House, keys: dict[str, str | None], capfd: pytest.CaptureFixture[str]
) -> None:
    for key in filter(None, keys.values()):
        own.client.get("/metrics", headers={"x-api-key": key})
        for path in Path(own.settings.data_dir).rglob("*"):
            assert not path.is_file() or key.encode() not in path.read_bytes(), path
    said = capfd.readouterr()
    assert not any(key in said.out + said.err for key in keys.values() if key)
