"""In which form a reply goes out: base64 > Accept > the key > the official client > the server > the catalogue."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image
from starlette.datastructures import Headers

from gesso.accounts.keys import KeyReplies, Scope
from gesso.api.negotiation import Form, accepted_form, reply_form
from gesso.catalogue.entries import Returns
from gesso.settings import Replies
from tests.api.house import SMALL, House, data_uri

OFFICIAL = {"x-initiator": "SDK-PY"}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, None),
        ("", None),
        ("*/*", None),
        ("text/html", None),
        ("text/html, */*;q=0.1", None),
        ("application/xml", None),
        ("application/json", "json"),
        ("APPLICATION/JSON", "json"),
        ("application/json; charset=utf-8", "json"),
        ("application/json, text/plain, */*", "json"),
        ("text/html, application/json;q=0.2", "json"),
        ("image/png", "png"),
        ("image/jpeg", "jpeg"),
        ("image/jpg", "jpeg"),
        ("image/webp", "webp"),
        ("image/*", "jpeg"),
        ("image/avif", None),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "webp"),
        ("image/png;q=0.5, image/webp;q=0.9", "webp"),
        ("image/webp, image/png", "webp"),
        ("image/png, image/webp", "png"),
        ("image/*, image/png", "png"),
        ("image/*;q=0.9, image/png;q=0.1", "jpeg"),
        ("image/*, image/jpeg;q=0", "png"),
        ("application/json;q=0.1, image/png;q=0.2", "png"),
        ("application/json;q=0.5, */*;q=0.8", None),
        ("application/json, */*", "json"),
        ("image/png;q=0", None),
        ("image/png;q=0, application/json;q=0.001", "json"),
        ("image/png;q=nonsense", "png"),
        ("image/png;q=", "png"),
        ("image/png;q=7, application/json", "png"),
        (";;;,,,===", None),
    ],
)
def test_what_accept_means(accept: str | None, form: Form | None) -> None:
    assert accepted_form([] if accept is None else [accept]) == form


def test_several_accept_headers_are_one_list() -> None:
    assert accepted_form(["text/html", "image/png;q=0.5", "application/json"]) == "json"


@pytest.mark.parametrize(
    ("as_base64", "accept", "key", "client", "server", "documented", "form"),
    [
        (False, "*/*", None, {}, "documented", "json", "json"),
        (False, "*/*", None, {}, "documented", "image", "jpeg"),
        (False, "*/*", None, {}, "image", "json", "jpeg"),
        (False, "*/*", None, {}, "json", "image", "json"),
        (False, "*/*", None, OFFICIAL, "documented", "json", "jpeg"),
        (False, "*/*", None, OFFICIAL, "json", "json", "jpeg"),
        (False, "*/*", "json", OFFICIAL, "image", "image", "json"),
        (False, "*/*", "image", {}, "json", "json", "jpeg"),
        (False, "application/json", "image", OFFICIAL, "image", "image", "json"),
        (False, "image/png", "json", {}, "json", "json", "png"),
        (False, "image/png", None, OFFICIAL, "documented", "json", "png"),
        (False, "*/*", None, {"x-initiator": "curl"}, "documented", "json", "json"),
        (True, "image/png", "image", OFFICIAL, "image", "image", "json"),
    ],
)
def test_who_has_the_say(
    as_base64: bool,
    accept: str,
    key: KeyReplies | None,
    client: dict[str, str],
    server: Replies,
    documented: Returns,
    form: Form,
) -> None:
    headers = Headers({"accept": accept, **client})
    assert reply_form(headers, as_base64=as_base64, key=key, server=server, documented=documented) == form


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_an_image_is_what_its_content_type_says(house: House, form: str) -> None:
    reply = house.paint(Accept=f"image/{form}")
    assert reply.headers["content-type"] == f"image/{form}"
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert (picture.format, picture.size) == (form.upper(), (512, 512))


def test_a_png_is_the_stored_file_itself(house: House) -> None:
    reply = house.paint(Accept="image/png")
    assert reply.content == house.client.get(reply.headers["x-image-urls"]).content


def test_the_official_client_gets_an_image_unasked(house: House) -> None:
    assert house.paint(**OFFICIAL, Accept="*/*").headers["content-type"] == "image/jpeg"


def test_base64_is_json_whatever_else_was_said(house: House) -> None:
    reply = house.paint(body=SMALL | {"base64": True}, Accept="image/png", **OFFICIAL)
    assert reply.headers["content-type"] == "application/json"


def test_a_key_has_its_form(house: House) -> None:
    key = house.new_key("image lover", scope=Scope(replies="image"))
    assert house.paint(**{"x-api-key": key}).headers["content-type"] == "image/jpeg"


def test_several_samples_in_one_image_are_a_contact_sheet_whose_pictures_are_named(house: House) -> None:
    reply = house.paint(body=SMALL | {"samples": 4}, Accept="image/png")
    urls = reply.headers["x-image-urls"].split(", ")
    sheet = Image.open(io.BytesIO(reply.content)).convert("RGB")
    assert sheet.size == (1024, 1024)
    assert len(urls) == 4
    for url, corner in zip(urls, [(0, 0), (512, 0), (0, 512), (512, 512)], strict=True):
        single = Image.open(io.BytesIO(house.client.get(url).content))
        assert sheet.getpixel(corner) == single.getpixel((0, 0))


@pytest.fixture(scope="module", params=["image", "json"])
def set_house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), replies=request.param) as house:
        yield house


def test_a_server_can_be_set_to_one_form_for_all_endpoints(set_house: House) -> None:
    expected = "image/jpeg" if set_house.settings.replies == "image" else "application/json"
    start = {"prompt": "x", "image": data_uri(512, 512)}
    assert set_house.paint().headers["content-type"] == expected
    assert set_house.paint("sdxl-img2img", start).headers["content-type"] == expected
