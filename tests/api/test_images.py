"""Stored pictures: open to whoever has the address, the same for ever, and nothing else is behind such an address."""

import httpx2
import pytest

from tests.api.house import House


@pytest.fixture(scope="module")
def url(house: House) -> str:
    return str(house.paint().json()["image"])


def test_a_picture_is_open_and_may_be_kept_for_ever(url: str) -> None:
    reply = httpx2.get(url)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "image/png"
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert int(reply.headers["content-length"]) == len(reply.content)


def test_its_address_cannot_be_guessed(house: House, url: str) -> None:
    token = url.rpartition("/")[2].removesuffix(".png")
    assert len(token) * 4 >= 128
    other = house.paint().json()["image"]
    assert sum(one == two for one, two in zip(token, other.rpartition("/")[2], strict=False)) < len(token) / 2


def test_a_head_request_gets_the_headers_alone(url: str) -> None:
    reply = httpx2.head(url)
    assert reply.status_code == 200
    assert reply.content == b""
    assert reply.headers["content-length"] == httpx2.get(url).headers["content-length"]


def test_who_has_it_already_is_told_so(url: str) -> None:
    tag = httpx2.get(url).headers["etag"]
    reply = httpx2.get(url, headers={"If-None-Match": tag})
    assert (reply.status_code, reply.content) == (304, b"")
    assert httpx2.get(url, headers={"If-None-Match": f'"other", W/{tag}'}).status_code == 304
    assert httpx2.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["0" * 48, "x", "..%2f..%2fgesso.db", "%2e%2e", "A" * 48, "0" * 5000, "%00", "gesso.db"],
)
def test_anything_else_is_not_found_in_json(house: House, name: str) -> None:
    for path in (f"/images/{name}.png", f"/images/{name}"):
        reply = httpx2.get(house.url + path)
        assert reply.status_code == 404
        assert reply.json()["code"] == "not_found"


def test_only_reading_is_possible(url: str) -> None:
    assert httpx2.delete(url).status_code == 405
    assert httpx2.put(url, content=b"x").status_code == 405


def test_public_url_is_where_pictures_are_said_to_be(tmp_path_factory: pytest.TempPathFactory) -> None:
    public = "https://pictures.example/gesso"
    with House(tmp_path_factory.mktemp("house"), public_url=public + "/") as house:
        told = house.paint(Host="other.example").json()["image"]
        assert told.startswith(f"{public}/images/")
        for own in (told, told.replace(public, house.url)):
            reply = house.paint("sdxl-img2img", {"prompt": "x", "image": own})
            assert reply.status_code == 200, "our own pictures are found under either address"
