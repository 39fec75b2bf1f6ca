"""Bodies: whatever is wrong with one is a 400 that says what, and never a 500."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.api.json_body import read_object
from gesso.errors import BadRequest
from tests.api.house import SMALL, TXT2IMG, House


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty; a JSON object is expected."),
        (b"  \n", "The body is empty; a JSON object is expected."),
        (b"{", "The body is not valid JSON: Expecting property name enclosed in double quotes at line 1, column 2."),
        (b'{"prompt": "a",}', "The body is not valid JSON: "),
        (b"prompt=a", "The body is not valid JSON: Expecting value at line 1, column 1."),
        (b"{'prompt': 'a'}", "The body is not valid JSON: "),
        (b'{"a": 1} {"b": 2}', "The body is not valid JSON: Extra data"),
        (b'{"prompt": "\xff"}', "The body is not valid JSON: it is not UTF-8."),
        (b'{"prompt": "a", "prompt": "b"}', "The body says 'prompt' more than once."),
        (b'{"guidance_scale": NaN}', "The body holds NaN, which is not a JSON number."),
        (b'{"guidance_scale": -Infinity}', "The body holds -Infinity, which is not a JSON number."),
        (b'{"seed": ' + b"9" * 5000 + b"}", "The body has a number with too many digits."),
        (b"[" * 100_000, "The body is nested too deeply."),
        (b'{"a":' * 100_000, "The body is nested too deeply."),
        (b"[]", "The body is a list; a JSON object is expected."),
        (b'"hello"', "The body is a string; a JSON object is expected."),
        (b"3.5", "The body is a number; a JSON object is expected."),
        (b"true", "The body is true or false; a JSON object is expected."),
        (b"null", "The body is null; a JSON object is expected."),
    ],
)
def test_what_is_not_an_object_in_json_is_said(house: House, body: bytes, sentence: str) -> None:
    reply = house.client.post(f"/v1/{TXT2IMG}", content=body)
    assert reply.status_code == 400
    assert reply.json()["code"] == "bad_request"
    assert reply.json()["error"].startswith(sentence)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789eE+-.truefalsn\\u d\n', max_size=60).map(str.encode))
def test_any_bytes_are_an_object_or_a_bad_request(data: bytes) -> None:
    try:
        assert isinstance(read_object(data), dict)
    except BadRequest as error:
        assert error.sentence.startswith("The body ")  # noqa: PT017  both ends are right, each has its own check


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_all_problems_of_a_request_come_in_one_answer_with_parameter_value_and_what_is_allowed(house: House) -> None:
    reply = house.paint(body={"samples": 9, "scheduler": "DPM++", "img_width": 513, "seed": 1e16})
    content = reply.json()
    assert reply.status_code == 400
    problems = {one["parameter"]: one for one in content["details"]}
    assert set(problems) == {"prompt", "samples", "scheduler", "img_width", "seed"}
    assert problems["samples"]["value"] == 9
    assert "1 to 4" in problems["samples"]["problem"]
    assert "UniPC" in problems["scheduler"]["problem"]
    assert all(name in content["error"] for name in problems)


@pytest.mark.parametrize(
    "field",
    [
        {"prompt": ""},
        {"prompt": "  "},
        {"prompt": None},
        {"prompt": "x" * 20_001},
        {"prompt": ["a"]},
        {"prompt": "(a:1e999)"},
        {"prompt": "\x00"},
        {"guidance_scale": 1e400},
        {"guidance_scale": "inf"},
        {"num_inference_steps": 25.5},
        {"num_inference_steps": True},
        {"seed": 10**400},
        {"seed": {"a": 1}},
        {"style": "Base"},
        {"base64": "maybe"},
        {"refiner": 2},
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(house: House, field: dict[str, object]) -> None:
    body = json.dumps(SMALL | field).replace("Infinity", "1e400")
    reply = house.client.post(f"/v1/{TXT2IMG}", content=body)
    assert reply.status_code == 400
    assert [one["parameter"] for one in reply.json()["details"]] == list(field)


def test_half_a_surrogate_pair_is_refused_wherever_it_would_be_repeated(house: House) -> None:
    reply = house.client.post(f"/v1/{TXT2IMG}", content=rb'{"prompt": "\ud800", "style": "\udfff"}')
    assert reply.status_code == 400
    assert {one["parameter"] for one in reply.json()["details"]} == {"prompt", "style"}
    ignored = house.client.post(f"/v1/{TXT2IMG}", content=rb'{"prompt": "a", "seed": 1, "\ud800": "\ud800"}')
    assert ignored.status_code == 200
    assert ignored.json()["ignored"] == ["\ud800"]


def test_a_broken_path_is_an_answer_too(house: House) -> None:
    for path in ("/v1/%00", "/v1/%ff%fe", "/v1/..%2f..%2fetc", "/v1/" + "x" * 5000, "/v1/{slug}"):
        assert house.client.post(path, json=SMALL).status_code == 404
