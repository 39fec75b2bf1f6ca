"""POST /v1/{slug}?dry_run=true: checked like the request itself, and the request then costs exactly what was said."""

from typing import Any

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from gesso.accounts.keys import Scope
from gesso.storage.tables import jobs, ledger_entries, pictures
from tests.api.house import DOCUMENTED, SMALL, TEXT_SLUGS, TXT2IMG, House, data_uri

IMG2IMG = "sdxl-img2img"
REALVIS = "sdxl1.0-realvis"

sides = st.integers(64, 96).map(lambda eighth: eighth * 8)
bodies = st.fixed_dictionaries(
    {"img_width": sides, "img_height": sides, "num_inference_steps": st.integers(20, 100), "samples": st.integers(1, 4)}
)


def quoted(
    house: House, slug: str = TXT2IMG, body: object = None, dry_run: str = "true", **headers: str
) -> httpx2.Response:
    body = SMALL if body is None else body
    return house.client.post(f"/v1/{slug}", params={"dry_run": dry_run}, json=body, headers=headers)


def traces(house: House) -> object:
    """Whatever a request that is carried out adds to."""

    def rows(connection: Connection) -> list[int]:
        return [
            connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (jobs, ledger_entries, pictures)
        ]

    files = [path for path in house.settings.pictures_dir.rglob("*") if path.is_file()]
    return house.read(rows), sorted(files), house.engine.state.ticks


def cost(reply: httpx2.Response) -> float:
    assert reply.status_code == 200, reply.text
    said = float(reply.json()["cost"])
    assert reply.headers["x-cost"] == f"{said:.6f}".rstrip("0")
    return said


@settings(max_examples=25, deadline=None)
@given(slug=st.sampled_from(list(DOCUMENTED)), body=bodies)
@example(slug=TXT2IMG, body={"img_width": 2048, "img_height": 2048, "num_inference_steps": 100, "samples": 1})
@example(slug=REALVIS, body={"img_width": 520, "img_height": 1352, "num_inference_steps": 33, "samples": 3})
def test_the_request_costs_exactly_what_was_quoted(house: House, slug: str, body: dict[str, Any]) -> None:
    start = {"image": data_uri(body["img_width"], body["img_height"])} if slug == IMG2IMG else {}
    asked = SMALL | body | start
    quote, painted = quoted(house, slug, asked), house.paint(slug, asked, Accept="application/json")
    assert cost(quote) == cost(painted)
    assert quote.json()["cost_per_image"] == pytest.approx(cost(painted) / body["samples"])


def test_a_quote_says_what_would_be_painted_and_what_the_account_has(house: House) -> None:
    key = house.new_key("asker", credits=1)
    reply = quoted(house, REALVIS, SMALL | {"samples": 2, "num_inference_steps": 50}, **{"x-api-key": key})
    content = reply.json()
    assert content.pop("request_id") == reply.headers["x-request-id"]
    assert content == {
        "status": "Quote",
        "cost": 0.008,
        "cost_per_image": 0.004,
        "samples": 2,
        "width": 512,
        "height": 512,
        "steps": 50,
        "remaining_credits": 1,
        "affordable": True,
        "ignored": [],
    }
    assert (reply.headers["x-cost"], reply.headers["x-remaining-credits"]) == ("0.008", "1")
    assert "x-ignored-parameters" not in reply.headers


@pytest.mark.parametrize("slug", DOCUMENTED)
def test_the_default_image_costs_the_price_that_is_told(house: House, slug: str) -> None:
    body = {"prompt": "x", **({"image": data_uri(1024, 1024)} if slug == IMG2IMG else {})}
    said = house.client.get("/openapi.json").json()["paths"][f"/v1/{slug}"]["post"]["description"]
    steps = quoted(house, slug, body).json()["steps"]
    price = f"{cost(quoted(house, slug, body))} credits for one image of 1024x1024 in {steps} steps"
    assert f"{price}, in proportion otherwise." in said
    assert price in house.client.get("/docs").text
    assert price in house.client.get("/").text


def test_a_quote_paints_reserves_stores_and_charges_nothing(house: House) -> None:
    key = house.new_key("careful", credits=1)
    before = traces(house)
    for slug in TEXT_SLUGS:
        cost(quoted(house, slug, SMALL | {"samples": 4}, **{"x-api-key": key}))
    cost(quoted(house, IMG2IMG, {"prompt": "x", "image": data_uri(512, 512)}, **{"x-api-key": key}))
    assert traces(house) == before
    assert house.balance("careful") == 1


@pytest.mark.parametrize(("credits", "affordable"), [(0.001999, False), (0.002, True), (0, False)])
def test_it_says_whether_the_account_could_pay(house: House, credits: float, affordable: bool) -> None:
    key = house.new_key(f"has {credits}", credits)
    assert quoted(house, **{"x-api-key": key}).json()["affordable"] == affordable
    assert house.paint(**{"x-api-key": key}).status_code == (200 if affordable else 406)


def test_an_account_without_limit_can_afford_it(house: House) -> None:
    content = quoted(house).json()
    assert (content["remaining_credits"], content["affordable"]) == (999999999, True)


@pytest.mark.parametrize("wish", [{"Accept": "image/png"}, {"Accept": "image/*"}, {"X-Initiator": "SDK-PY"}])
def test_it_is_json_whatever_a_picture_would_be(house: House, wish: dict[str, str]) -> None:
    assert quoted(house, **wish).headers["content-type"] == "application/json"
    body = {"prompt": "x", "image": data_uri(512, 512), "base64": True}
    assert quoted(house, IMG2IMG, body, **wish).json()["status"] == "Quote"


def test_the_size_is_that_of_the_picture_and_not_of_its_start_image(house: House) -> None:
    content = quoted(house, IMG2IMG, {"prompt": "x", "image": data_uri(100, 50), "strength": 0.1}).json()
    assert (content["width"], content["height"], content["steps"]) == (1024, 512, 30)
    assert content["cost"] == 0.005, "half the pixels, and all the steps that were asked for"


def test_unknown_fields_are_named(house: House) -> None:
    reply = quoted(house, body=SMALL | {"steps": 3, "ü": 1})
    assert reply.json()["ignored"] == ["steps", "ü"]
    assert reply.headers["x-ignored-parameters"] == "steps,%C3%BC"


@pytest.mark.parametrize("yes", ["true", "1", "yes", "True"])
def test_each_way_to_say_yes_is_understood(house: House, yes: str) -> None:
    assert quoted(house, dry_run=yes).json()["status"] == "Quote"


@pytest.mark.parametrize("no", ["false", "0", "No"])
def test_each_way_to_say_no_is_understood(house: House, no: str) -> None:
    assert quoted(house, dry_run=no).json()["status"] == "Success"


@pytest.mark.parametrize("said", ["", "2", "on", "truely", "true&dry_run=false", "true&dry_run=true"])
def test_any_other_value_is_refused_and_nothing_is_painted(house: House, said: str) -> None:
    before = traces(house)
    reply = house.client.post(f"/v1/{TXT2IMG}?dry_run={said}", json=SMALL)
    assert reply.status_code == 400
    assert [one["parameter"] for one in reply.json()["details"]] == ["dry_run"]
    assert "allowed is true or false" in reply.json()["error"]
    assert traces(house) == before


@pytest.mark.parametrize(
    ("slug", "body"),
    [
        (TXT2IMG, {"samples": 9, "img_width": 513}),
        (TXT2IMG, SMALL | {"prompt": f"(a:1{'0' * 400})"}),
        (TXT2IMG, SMALL | {"loras": [{"name": "no such LoRA"}]}),
        (IMG2IMG, {"prompt": "x", "image": "hello world!"}),
        (IMG2IMG, {"prompt": "x", "image": "http://127.0.0.1/start.png"}),
        ("sdxl2.0", SMALL),
    ],
)
def test_it_is_refused_in_the_words_in_which_the_request_would_be(house: House, slug: str, body: object) -> None:
    quote, painted = quoted(house, slug, body), house.paint(slug, body)
    assert quote.status_code == painted.status_code >= 400
    assert quote.json() | {"request_id": ""} == painted.json() | {"request_id": ""}


def test_a_key_gets_no_quote_for_what_it_may_not_use(house: House) -> None:
    house.new_key("narrow")
    key = house.do(house.keys.create("narrow", Scope(models=(REALVIS,))))
    assert quoted(house, REALVIS, **{"x-api-key": key}).status_code == 200
    assert quoted(house, TXT2IMG, **{"x-api-key": key}).status_code == 403
    assert quoted(house, TXT2IMG, **{"x-api-key": "SG_nobody"}).status_code == 401


def test_a_quote_is_as_described(house: House) -> None:
    document = house.client.get("/openapi.json").json()
    reply, schema = quoted(house), document["components"]["schemas"]["Quote"]
    assert set(reply.json()) == set(schema["properties"]) == set(schema["required"])
    operation = document["paths"][f"/v1/{TXT2IMG}"]["post"]
    assert {name for name in reply.headers if name.startswith("x-")} <= set(operation["responses"]["200"]["headers"])
    parameter, _ = operation["parameters"]
    assert (parameter["name"], parameter["in"], parameter["schema"]["type"]) == ("dry_run", "query", "boolean")
