"""POST /v1/{slug}: the documented requests work exactly as printed, and replies say what was painted."""

import base64
import io
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from gesso.engine.fake import FakeEngine
from gesso.imaging.png import read_infotext
from tests.api.house import DOCUMENTED, SMALL, TEXT_SLUGS, TXT2IMG, House, data_uri, documented


def stored(house: House, url: str) -> bytes:
    reply = httpx2.get(url)
    assert reply.status_code == 200
    return reply.content


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_the_documented_example_works_exactly_as_printed(house: House, slug: str) -> None:
    reply = house.client.post(f"/v1/{slug}", content=DOCUMENTED[slug], headers={"Content-Type": "application/json"})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    content, asked = reply.json(), documented(slug)
    assert content["status"] == "Success"
    assert content["seed"] == asked["seed"]
    assert content["ignored"] == []
    (image,) = content["images"]
    assert image == {"url": content["image"], "seed": asked["seed"], "width": 896, "height": 1152}
    with Image.open(io.BytesIO(stored(house, content["image"]))) as picture:
        assert (picture.format, picture.size) == ("PNG", (896, 1152))


def test_the_documented_image_to_image_example_works_with_its_image_as_a_data_uri(house: House) -> None:
    reply = house.paint("sdxl-img2img", documented("sdxl-img2img") | {"image": data_uri(700, 1000)})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["x-seed-value"] == "98877465625"
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (696, 1000))


def test_a_json_reply_has_every_documented_field_and_no_other(house: House) -> None:
    content = house.paint().json()
    assert set(content) == {
        "status", "image", "seed", "infer_time", "request_id", "images", "cost", "remaining_credits", "ignored"
    }  # fmt: skip
    assert isinstance(content["infer_time"], float)
    assert content["cost"] == 0.002
    assert content["remaining_credits"] == 999999999


def test_every_success_has_the_documented_headers(house: House) -> None:
    for accept in ("application/json", "image/jpeg", "image/png", "image/webp"):
        headers = house.paint(Accept=accept).headers
        assert headers["x-remaining-credits"] == "999999999"
        assert headers["x-cost"] == "0.002"
        assert float(headers["x-generation-time"]) >= 0
        assert headers["x-seed-value"] == "7"
        metadata = json.loads(headers["x-output-metadata"])
        assert (metadata["width"], metadata["height"], metadata["samples"]) == (512, 512, 1)
        assert set(metadata) == {"width", "height", "samples", "timings", "company"}
        assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-request-id"])
        assert "x-ignored-parameters" not in headers


def test_a_reply_tells_where_its_time_went(tmp_path: Path) -> None:
    with House(tmp_path, FakeEngine(0.2)) as slow:
        began = time.monotonic()
        metadata = json.loads(slow.paint(body=SMALL | {"samples": 2}).headers["x-output-metadata"])
        elapsed = time.monotonic() - began
    timings = metadata["timings"]
    assert list(timings) == ["queue", "encode", "denoise", "decode", "write"]
    assert timings["denoise"] == 0.4
    assert timings["write"] > 0
    assert sum(timings.values()) <= elapsed
    assert all(seconds == round(seconds, 3) for seconds in timings.values())
    assert metadata["company"] == 1


def test_the_request_id_is_the_same_in_header_and_body(house: House) -> None:
    reply = house.paint()
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


def test_credits_are_charged_and_told(house: House) -> None:
    key = house.new_key("payer", credits=1)
    reply = house.paint(body=SMALL | {"samples": 2}, **{"x-api-key": key})
    assert reply.json()["cost"] == 0.004
    assert reply.json()["remaining_credits"] == 0.996
    assert reply.headers["x-remaining-credits"] == "0.996"
    assert house.balance("payer") == 0.996


def test_several_samples_come_as_lists_in_seed_order(house: House) -> None:
    content = house.paint(body=SMALL | {"samples": 3}).json()
    assert [image["seed"] for image in content["images"]] == [7, 8, 9]
    assert [image["url"] for image in content["images"]] == content["image"]
    assert len(set(content["image"])) == 3


def test_a_sample_is_the_picture_that_its_own_seed_gives(house: House) -> None:
    several = house.paint(body=SMALL | {"samples": 3}).json()
    alone = house.paint(body=SMALL | {"seed": 9}).json()
    assert stored(house, several["image"][2]) == stored(house, alone["image"])


def test_equal_requests_give_equal_bytes_under_different_addresses(house: House) -> None:
    one, other = house.paint().json(), house.paint().json()
    assert one["image"] != other["image"]
    assert stored(house, one["image"]) == stored(house, other["image"])


def test_base64_is_the_stored_file_byte_for_byte(house: House) -> None:
    content = house.paint(body=SMALL | {"base64": True}).json()
    assert base64.b64decode(content["image"], validate=True) == stored(house, content["images"][0]["url"])
    several = house.paint(body=SMALL | {"base64": "yes", "samples": 2}).json()
    assert [base64.b64decode(one) for one in several["image"]] == [
        stored(house, image["url"]) for image in several["images"]
    ]


def test_a_seed_that_was_drawn_is_told_and_gives_the_same_picture_again(house: House) -> None:
    drawn = house.paint(body={name: value for name, value in SMALL.items() if name != "seed"}).json()
    assert 0 <= drawn["seed"] <= 999999999999995
    again = house.paint(body=SMALL | {"seed": drawn["seed"]}).json()
    assert stored(house, drawn["image"]) == stored(house, again["image"])


@pytest.mark.parametrize("seed", [0, 98877465625, 999999999999999])
def test_every_bit_of_a_seed_comes_back(house: House, seed: int) -> None:
    assert house.paint(body=SMALL | {"seed": seed}).json()["seed"] == seed


def test_what_is_stored_says_how_it_was_made(house: House) -> None:
    text = read_infotext(stored(house, house.paint().json()["image"]))
    assert text is not None
    assert text.startswith("a red house\n")
    assert "Seed: 7" in text


def test_unknown_fields_are_ignored_and_named(house: House) -> None:
    reply = house.paint(body=SMALL | {"negativePrompt": "x", "steps": 3, "ü,\n": 1})
    assert reply.json()["ignored"] == ["negativePrompt", "steps", "ü,\n"]
    assert reply.headers["x-ignored-parameters"] == "negativePrompt,steps,%C3%BC%2C%0A"


def test_ten_thousand_unknown_fields_do_not_make_a_header_that_no_client_takes(house: House) -> None:
    reply = house.paint(body=SMALL | {f"field{number}": 0 for number in range(10_000)})
    assert len(reply.json()["ignored"]) == 10_000
    assert len(reply.headers["x-ignored-parameters"]) <= 2010
    assert reply.headers["x-ignored-parameters"].endswith(",...")


@pytest.mark.parametrize(
    "form",
    [
        {"samples": "1"},
        {"guidance_scale": "7.5", "num_inference_steps": 25.0},
        {"refiner": "yes"},
        {"base64": "False"},
        {"scheduler": None, "negative_prompt": None, "style": None},
        {"sampler_name": "x", "shape": "square", "width": 1},
    ],
)
def test_the_habits_of_real_clients_are_survived(house: House, form: dict[str, object]) -> None:
    assert house.paint(body=SMALL | form).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
def test_the_body_is_json_whatever_its_content_type_says(house: House, kind: str) -> None:
    body = json.dumps(SMALL)
    assert house.client.post(f"/v1/{TXT2IMG}", content=body, headers={"Content-Type": kind}).status_code == 200


def test_a_body_without_a_content_type_is_json(house: House) -> None:
    reply = house.client.post(f"/v1/{TXT2IMG}", content=json.dumps(SMALL).encode())
    assert "content-type" not in reply.request.headers
    assert reply.status_code == 200


def test_six_requests_at_once_are_six_pictures(house: House) -> None:
    with ThreadPoolExecutor(6) as threads:
        replies = list(threads.map(lambda seed: house.paint(body=SMALL | {"seed": seed}), range(6)))
    assert [reply.json()["seed"] for reply in replies] == list(range(6))


def test_picture_addresses_are_absolute_under_the_host_that_was_asked(house: House) -> None:
    assert house.paint().json()["image"].startswith(f"{house.url}/images/")
    elsewhere = house.paint(Host="pictures.example:8443").json()["image"]
    assert elsewhere.startswith("http://pictures.example:8443/images/")


@pytest.mark.parametrize("host", ["a b", "[", "x/y", "a@b", "<script>", "x:y"])
def test_a_host_that_is_none_is_not_repeated(house: House, host: str) -> None:
    assert house.paint(Host=host).json()["image"].startswith(f"{house.url}/images/")
