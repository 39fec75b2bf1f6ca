"""The start image of image-to-image: every way to send one, and every way in which one can be wrong."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gesso.imaging.png import decode_png
from tests.api.house import SMALL, House, data_uri, picture_file

SLUG = "sdxl-img2img"


class Site(BaseHTTPRequestHandler):
    """Serves one picture and counts its visitors."""

    visits = 0

    def do_GET(self) -> None:
        type(self).visits += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(picture_file(600, 800, form="JPEG"))

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/start.jpg"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), fetch_allow=("127.0.0.0/8",)) as house:
        yield house


def painted(house: House, image: str) -> dict[str, object]:
    reply = house.paint(SLUG, {"prompt": "x", "seed": 1, "image": image}, Accept="application/json")
    assert reply.status_code == 200, reply.text
    (picture,) = reply.json()["images"]
    return dict(picture)


def problem(house: House, image: object) -> str:
    reply = house.paint(SLUG, {"prompt": "x", "image": image})
    assert reply.status_code == 400, reply.text
    (one,) = reply.json()["details"]
    assert one["parameter"] == "image"
    assert len(json_text := str(one["value"])) < 200, json_text
    return str(one["problem"])


def test_each_way_to_send_a_picture_gives_the_same_picture(house: House) -> None:
    data = picture_file(520, 600, "green")
    plain = base64.b64encode(data).decode()
    ways = [plain, base64.urlsafe_b64encode(data).decode().rstrip("="), f"data:image/png;base64,{plain}"]
    pictures = [house.client.get(str(painted(house, way)["url"])).content for way in ways]
    assert pictures[0] == pictures[1] == pictures[2]
    assert pictures[0] != house.client.get(str(painted(house, data_uri(520, 600, "blue"))["url"])).content


@pytest.mark.parametrize(
    ("size", "used"), [((700, 1000), (696, 1000)), ((100, 50), (1024, 512)), ((4096, 2048), (2048, 1024))]
)
def test_the_size_that_was_used_is_told(house: House, size: tuple[int, int], used: tuple[int, int]) -> None:
    picture = painted(house, data_uri(*size))
    assert (picture["width"], picture["height"]) == used
    stored = decode_png(house.client.get(str(picture["url"])).content)
    assert (stored.width, stored.height) == used


def test_a_picture_of_our_own_is_read_and_not_fetched(house: House) -> None:
    own = house.paint().json()["image"]
    picture = painted(house, own)
    assert (picture["width"], picture["height"]) == (512, 512)
    assert painted(house, base64.b64encode(house.client.get(own).content).decode()).keys() == picture.keys()


def test_an_address_of_our_own_without_a_picture_is_refused(house: House) -> None:
    assert "not here, or no longer" in problem(house, f"{house.url}/images/{'0' * 48}.png")


def test_other_addresses_of_our_own_are_addresses_inside_and_refused(house: House) -> None:
    assert "not a public address" in problem(house, f"{house.url}/livez")


def test_a_url_inside_is_refused_and_nobody_goes_there(house: House, site: str) -> None:
    before = Site.visits
    assert "127.0.0.1 is not a public address" in problem(house, site)
    assert Site.visits == before


def test_fetch_allow_opens_the_inside(open_house: House, site: str) -> None:
    assert painted(open_house, site)["width"] == 600


def test_a_url_without_a_picture_is_refused(open_house: House) -> None:
    assert "is not an image" in problem(open_house, f"{open_house.url}/livez")
    assert "status 404" in problem(open_house, f"{open_house.url}/nowhere")


@pytest.mark.parametrize(
    "image", ["x", "hello world!", "ftp://a/b", "data:image/png;base64,%%%", "", " ", "http://", 5]
)
def test_what_is_no_image_is_refused_by_name(house: House, image: object) -> None:
    assert problem(house, image)


def test_bytes_that_are_no_picture_are_refused(house: House) -> None:
    assert "is not an image in one of the formats" in problem(house, base64.b64encode(b"hello" * 20).decode())
    broken = picture_file(700, 700)[:300]
    assert "broken" in problem(house, base64.b64encode(broken).decode())


def test_too_long_a_shape_is_refused(house: House) -> None:
    assert "at most 4 times the other" in problem(house, data_uri(500, 100))


def test_a_missing_image_is_named_beside_whatever_else_is_wrong(house: House) -> None:
    reply = house.paint(SLUG, {"strength": 2})
    assert {one["parameter"] for one in reply.json()["details"]} == {"image", "prompt", "strength"}


def test_a_refused_image_is_not_charged(house: House) -> None:
    key = house.new_key("unlucky", credits=1)
    reply = house.paint(SLUG, {"prompt": "x", "image": "x"}, **{"x-api-key": key})
    assert reply.status_code == 400
    assert house.balance("unlucky") == 1


def test_image_to_image_needs_neither_base_model_nor_scheduler(house: House) -> None:
    reply = house.paint(SLUG, {"prompt": "x", "image": data_uri(512, 512), "style": "anime", "img_width": 600})
    assert reply.status_code == 200
    assert reply.headers["x-ignored-parameters"] == "style,img_width"


def test_text_to_image_takes_no_start_image_and_says_so(house: House) -> None:
    reply = house.paint(body=SMALL | {"image": "http://169.254.169.254/"})
    assert reply.json()["ignored"] == ["image"]


def test_a_picture_of_our_own_is_read_under_any_name_the_server_has(house: House) -> None:
    url = house.paint(body=SMALL).json()["image"]
    same = painted(house, url)
    other = url.replace("127.0.0.1", "localhost")
    assert other != url
    for name in (other, f"{url}?x=1", f"{url}#x"):
        again = painted(house, name)
        assert (again["width"], again["seed"]) == (same["width"], same["seed"])
