"""Keys: checked before anything else about a request, in every form that clients send them in."""

import httpx2
import pytest

from tests.api.house import SMALL, TXT2IMG, House

OTHERS = [
    ("GET", "/v1"),
    ("GET", "/v1/"),
    ("POST", "/v1/no-such-slug"),
    ("GET", f"/v1/{TXT2IMG}"),
    ("DELETE", "/v1/a/b/c"),
    ("OPTIONS", f"/v1/{TXT2IMG}"),
    ("POST", "/v2/x"),
    ("GET", "/sdapi/v1/options"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "KEY"},
        {"X-API-Key": "KEY"},
        {"Authorization": "Bearer KEY"},
        {"authorization": "bearer   KEY"},
        {"x-api-key": "KEY", "Authorization": "Bearer SG_0000000000000000"},
        {"x-api-key": "", "Authorization": "Bearer KEY"},
    ],
)
def test_a_key_counts_in_either_header(house: House, headers: dict[str, str]) -> None:
    sent = {name: value.replace("KEY", house.key) for name, value in headers.items()}
    reply = httpx2.post(f"{house.url}/v1/{TXT2IMG}", json=SMALL, headers=sent)
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Basic x"}]
)
def test_no_key_is_said_in_the_documented_words(house: House, headers: dict[str, str]) -> None:
    reply = httpx2.post(f"{house.url}/v1/{TXT2IMG}", json=SMALL, headers=headers)
    assert reply.status_code == 401
    assert reply.json()["code"] == "unauthorized"
    assert reply.json()["error"] == "Missing Authorization or x-api-key in header"


@pytest.mark.parametrize("key", ["SG_" + "0" * 40, "sg_short", "x", "SG_' OR 1=1 --", "ü"])
def test_an_unknown_key_is_unauthorized(house: House, key: str) -> None:
    reply = house.client.post(f"/v1/{TXT2IMG}", json=SMALL, headers={"x-api-key": key.encode("latin-1")})
    assert reply.status_code == 401
    assert key not in reply.json()["error"]


def test_a_revoked_key_is_unauthorized_at_once(house: House) -> None:
    key = house.new_key("leaving")
    assert house.paint(**{"x-api-key": key}).status_code == 200
    house.do(house.keys.revoke(key[:12]))
    assert house.paint(**{"x-api-key": key}).status_code == 401


@pytest.mark.parametrize(("method", "path"), OTHERS)
def test_without_a_key_nothing_is_said_of_what_is_there(house: House, method: str, path: str) -> None:
    reply = httpx2.request(method, house.url + path, content=b"not json")
    assert reply.status_code == 401
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/livez", "/readyz"])
def test_what_is_for_everyone_is_open(house: House, path: str) -> None:
    assert httpx2.get(house.url + path).status_code == 200
