"""/openapi.json: true, so that what it allows works and what the server answers is in it."""

from typing import Any

import pytest

from tests.api.house import DOCUMENTED, SMALL, House, documented


@pytest.fixture(scope="module")
def document(house: House) -> dict[str, Any]:
    reply = house.client.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    return dict(reply.json())


def painting(document: dict[str, Any], slug: str) -> dict[str, Any]:
    return dict(document["paths"][f"/v1/{slug}"]["post"])


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        return [str(value) for key, value in node.items() if key == "$ref"] + [
            one for value in node.values() for one in references(value)
        ]
    return [one for value in node for one in references(value)] if isinstance(node, list) else []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(references(document)):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node


def test_it_names_the_server_and_both_ways_to_send_a_key(house: House, document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": house.url}]
    assert set(document["components"]["securitySchemes"]) == {"key", "bearer"}


@pytest.mark.parametrize("slug", DOCUMENTED)
def test_every_endpoint_has_its_parameters_and_its_example(document: dict[str, Any], slug: str) -> None:
    schema = painting(document, slug)["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) >= set(documented(slug))
    assert schema["examples"] == [documented(slug)]


def test_a_success_is_as_described(house: House, document: dict[str, Any]) -> None:
    reply = house.paint(body=SMALL | {"samples": 2})
    described = painting(document, "sdxl1.0-txt2img")["responses"]["200"]
    schema = document["components"]["schemas"]["Pictures"]
    assert set(reply.json()) == set(schema["properties"]) == set(schema["required"])
    assert set(reply.json()["images"][0]) == set(schema["properties"]["images"]["items"]["properties"])
    assert {name for name in reply.headers if name.startswith("x-")} <= set(described["headers"])
    assert set(described["content"]) == {"application/json", "image/jpeg", "image/png", "image/webp"}


def test_an_error_is_as_described(house: House, document: dict[str, Any]) -> None:
    content = house.paint(body={"samples": 9}).json()
    schema = document["components"]["schemas"]["Problem"]
    assert set(content) == set(schema["properties"])
    assert content["code"] in schema["properties"]["code"]["enum"]
    assert set(content["details"][0]) == set(schema["properties"]["details"]["items"]["properties"])


def test_every_status_that_painting_can_answer_with_is_there(document: dict[str, Any]) -> None:
    for slug in DOCUMENTED:
        statuses = set(painting(document, slug)["responses"])
        assert statuses == {"200", "400", "401", "403", "404", "406", "409", "413", "429", "500", "502", "504"}


def test_what_is_open_says_so(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method in ("get", "post"):
            if method in operations:
                assert ("security" in operations[method]) == (not path.startswith(("/v1", "/metrics")))
