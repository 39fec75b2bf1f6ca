"""The schema says what the reader of requests does."""

from typing import Any

import pytest

from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.openapi import request_schema
from gesso.catalogue.validation import read_request
from tests.catalogue.contract import ADDED, DEFAULTS, DESCRIPTIONS, RANGES, REQUIRED, TEXT_SCHEDULERS


@pytest.fixture(params=DEFAULTS)
def slug(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def schema(catalogue: Catalogue, slug: str) -> dict[str, Any]:
    return request_schema(catalogue.endpoint(slug))


def test_it_requires_what_is_required_and_lets_other_fields_pass(schema: dict[str, Any], slug: str) -> None:
    assert set(schema["required"]) == {name for name, default in DEFAULTS[slug].items() if default is REQUIRED}
    assert schema["additionalProperties"] is True


def test_it_describes_every_field_with_its_default(schema: dict[str, Any], slug: str) -> None:
    documented = {name: field for name, field in schema["properties"].items() if name not in ADDED}
    assert {name: field["description"] for name, field in documented.items()} == {
        name: DESCRIPTIONS[name] for name in DEFAULTS[slug]
    }
    assert {name: field.get("default", REQUIRED) for name, field in documented.items()} == DEFAULTS[slug]


def test_it_gives_every_number_its_range(schema: dict[str, Any], slug: str) -> None:
    for name in RANGES.keys() & DEFAULTS[slug].keys() - {"guidance_scale"}:
        field = schema["properties"][name]
        assert (field["minimum"], field["maximum"]) == RANGES[name]
        assert field["type"] == ("number" if name in ("strength", "high_noise_fraction") else "integer")


def test_its_example_is_the_documented_sample_and_is_taken(
    schema: dict[str, Any], catalogue: Catalogue, slug: str
) -> None:
    [example] = schema["examples"]
    assert read_request(catalogue.endpoint(slug), example).ignored == ()


def test_fields_look_as_documented(catalogue: Catalogue) -> None:
    fields = request_schema(catalogue.endpoint("sdxl1.0-txt2img"))["properties"]
    assert fields["scheduler"] == {
        "type": "string",
        "description": "Type of scheduler.",
        "default": "UniPC",
        "enum": TEXT_SCHEDULERS,
    }
    assert fields["img_width"]["multipleOf"] == 8
    assert fields["base64"] == {
        "type": "boolean",
        "description": "Base64 encoding of the output image.",
        "default": False,
    }
    assert fields["prompt"]["maxLength"] == 20_000


def test_a_list_says_what_its_objects_are(catalogue: Catalogue) -> None:
    field = request_schema(catalogue.endpoint("sdxl-img2img"))["properties"]["loras"]
    assert (field["type"], field["default"], field["maxItems"]) == ("array", [], 8)
    assert field["items"] == {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {
                "type": "string",
                "description": "What the server's owner called it.",
                "maxLength": 200,
                "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$",
            },
            "weight": {
                "type": "number",
                "description": "How strongly; 1 is as it was trained.",
                "default": 1,
                "minimum": -4,
                "maximum": 4,
            },
        },
        "additionalProperties": False,
    }
