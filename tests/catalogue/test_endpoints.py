"""The five endpoints are those of the documented service, field by field."""

import json
from pathlib import Path

import pytest

import gesso.catalogue
from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.validation import read_request
from gesso.errors import NotFound
from tests.catalogue.contract import (
    ADDED,
    BASE_MODELS,
    DEFAULTS,
    DESCRIPTIONS,
    IMAGE_SCHEDULERS,
    RANGES,
    REQUIRED,
    STYLES,
    TEXT_SCHEDULERS,
    TEXT_SLUGS,
)

FIELDS = [(slug, name) for slug, defaults in DEFAULTS.items() for name in defaults]
EXAMPLES = Path(gesso.catalogue.__file__).parent / "examples"


def test_there_are_the_five_documented_slugs(catalogue: Catalogue) -> None:
    assert list(catalogue.endpoints) == list(DEFAULTS)


def test_an_unknown_slug_is_not_found_and_the_sentence_lists_the_slugs(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match=r"'sdxl1\.0-nothing'.*sdxl1\.0-txt2img.*sdxl-img2img"):
        catalogue.endpoint("sdxl1.0-nothing")


@pytest.mark.parametrize("slug", DEFAULTS)
def test_an_endpoint_takes_the_documented_fields_and_few_others(catalogue: Catalogue, slug: str) -> None:
    assert set(catalogue.endpoint(slug).parameters) == set(DEFAULTS[slug]) | set(ADDED)
    assert not any(catalogue.endpoint(slug).parameters[name].required for name in ADDED)


@pytest.mark.parametrize(("slug", "name"), FIELDS)
def test_a_field_has_the_documented_description_and_default(catalogue: Catalogue, slug: str, name: str) -> None:
    parameter = catalogue.endpoint(slug).parameters[name]
    assert parameter.description == DESCRIPTIONS[name]
    assert parameter.required == (DEFAULTS[slug][name] is REQUIRED)
    if not parameter.required:
        assert parameter.default == DEFAULTS[slug][name]


@pytest.mark.parametrize(("slug", "name"), [(slug, name) for slug, name in FIELDS if name in RANGES])
def test_a_number_has_the_documented_range(catalogue: Catalogue, slug: str, name: str) -> None:
    parameter = catalogue.endpoint(slug).parameters[name]
    documented = (0.1, 25) if (slug, name) == ("sdxl-img2img", "guidance_scale") else RANGES[name]
    assert (parameter.minimum, parameter.maximum) == documented


@pytest.mark.parametrize("slug", TEXT_SLUGS)
@pytest.mark.parametrize("name", ["img_width", "img_height"])
def test_sizes_are_multiples_of_eight(catalogue: Catalogue, slug: str, name: str) -> None:
    assert catalogue.endpoint(slug).parameters[name].multiple_of == 8


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_text_to_image_lists_the_twelve_schedulers_in_order(catalogue: Catalogue, slug: str) -> None:
    assert list(catalogue.endpoint(slug).parameters["scheduler"].choices) == TEXT_SCHEDULERS
    assert len(TEXT_SCHEDULERS) == 12


def test_image_to_image_lists_the_twenty_nine_schedulers_in_order(catalogue: Catalogue) -> None:
    assert list(catalogue.endpoint("sdxl-img2img").parameters["scheduler"].choices) == IMAGE_SCHEDULERS
    assert len(set(IMAGE_SCHEDULERS)) == 29


def test_styles_and_base_models_are_listed_in_order(catalogue: Catalogue) -> None:
    assert list(catalogue.endpoint("sdxl1.0-txt2img").parameters["style"].choices) == STYLES
    assert list(catalogue.endpoint("sdxl-img2img").parameters["base_model"].choices) == BASE_MODELS


def test_image_to_image_returns_an_image_and_the_others_json(catalogue: Catalogue) -> None:
    assert {slug: endpoint.returns for slug, endpoint in catalogue.endpoints.items()} == (
        dict.fromkeys(TEXT_SLUGS, "json") | {"sdxl-img2img": "image"}
    )


def test_every_image_costs_something_by_default(catalogue: Catalogue) -> None:
    assert all(0 < endpoint.price.microcredits < 1_000_000 for endpoint in catalogue.endpoints.values())


@pytest.mark.parametrize("slug", DEFAULTS)
def test_a_price_is_that_of_the_image_of_a_request_that_says_nothing(catalogue: Catalogue, slug: str) -> None:
    price, steps = catalogue.endpoint(slug).price, catalogue.endpoint(slug).parameters["num_inference_steps"].default
    assert (price.steps, price.pixels) == (steps, 1024 * 1024)


@pytest.mark.parametrize("slug", DEFAULTS)
def test_the_documented_sample_body_is_taken_as_printed(catalogue: Catalogue, slug: str) -> None:
    sample = json.loads((EXAMPLES / f"{slug}.json").read_text("utf-8"))
    request = read_request(catalogue.endpoint(slug), sample)
    assert catalogue.endpoint(slug).example == sample
    assert {name: request.values[name] for name in sample} == sample
    assert request.ignored == ()


def test_a_base_model_chooses_the_checkpoint_and_elsewhere_there_is_one(catalogue: Catalogue) -> None:
    assert catalogue.endpoint("sdxl-img2img").base({"base_model": "protovision"}) == "mini-protovision"
    assert catalogue.endpoint("sdxl1.0-realvis").base({}) == "mini-realvis"
    assert catalogue.endpoint("sdxl1.0-realvis").refiner is None
    assert catalogue.endpoint("sdxl1.0-txt2img").refiner == "mini-refiner"
