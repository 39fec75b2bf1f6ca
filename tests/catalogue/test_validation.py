"""Reading a request is strict about meaning, lenient about form and silent about nothing."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.catalogue.validation import ValidRequest, read_request
from gesso.errors import BadRequest
from tests.catalogue.conftest import Ask
from tests.catalogue.contract import ADDED, DEFAULTS, LAST_SEED, RANGES, REQUIRED

ACCEPTED: list[tuple[str, object, object]] = [
    ("samples", "1", 1),
    ("samples", 2.0, 2),
    ("samples", " 3 ", 3),
    ("samples", "4.0", 4),
    ("num_inference_steps", 20, 20),
    ("num_inference_steps", "25", 25),
    ("num_inference_steps", 25.0, 25),
    ("num_inference_steps", "2.5e1", 25),
    ("num_inference_steps", 100, 100),
    ("guidance_scale", 8, 8.0),
    ("guidance_scale", "7.5", 7.5),
    ("guidance_scale", "1", 1.0),
    ("guidance_scale", 25, 25.0),
    ("strength", "0.1", 0.1),
    ("strength", ".5", 0.5),
    ("high_noise_fraction", 0, 0.0),
    ("high_noise_fraction", "1.", 1.0),
    ("seed", 0, 0),
    ("seed", -1, None),
    ("seed", "-1", None),
    ("seed", -1.0, None),
    ("seed", 98877465625, 98877465625),
    ("seed", "98877465625.0", 98877465625),
    ("seed", str(LAST_SEED), LAST_SEED),
    ("seed", float(LAST_SEED), LAST_SEED),
    ("img_width", 512, 512),
    ("img_height", "2048", 2048),
    ("img_width", 520.0, 520),
    *(("refiner", form, True) for form in (True, 1, 1.0, "true", "True", "TRUE", "yes", "Yes", " YES ", "1")),
    *(("refiner", form, False) for form in (False, 0, "false", "False", "no", "NO", "0")),
    ("style", "pixel art", "pixel art"),
    ("scheduler", "DPM2 a Karras", "DPM2 a Karras"),
    ("negative_prompt", "", ""),
    ("negative_prompt", "   ", "   "),
    ("prompt", " a {red} circle ", " a {red} circle "),
    ("prompt", "x" * 20_000, "x" * 20_000),
]

REFUSED: list[tuple[str, object, str]] = [
    ("samples", 0, "out of range"),
    ("samples", 5, "out of range"),
    ("samples", True, "not a number"),
    ("samples", "", "not a number"),
    ("samples", "two", "not a number"),
    ("samples", "٢", "not a number"),
    ("samples", "1_0", "not a number"),
    ("samples", "0x2", "not a number"),
    ("samples", [1], "not a number"),
    ("samples", {"value": 1}, "not a number"),
    ("num_inference_steps", 19, "out of range"),
    ("num_inference_steps", 101, "out of range"),
    ("num_inference_steps", 25.5, "not an integer"),
    ("num_inference_steps", "25.5", "not an integer"),
    ("num_inference_steps", "1e400", "out of range"),
    ("num_inference_steps", "1e99999999999", "not a number"),
    ("num_inference_steps", "9" * 5000, "not a number"),
    ("num_inference_steps", 10**5000, "out of range"),
    ("guidance_scale", 0.99, "out of range"),
    ("guidance_scale", 25.01, "out of range"),
    ("guidance_scale", math.nan, "not finite"),
    ("guidance_scale", math.inf, "not finite"),
    ("guidance_scale", "nan", "not a number"),
    ("guidance_scale", "Infinity", "not a number"),
    ("guidance_scale", 10**400, "out of range"),
    ("guidance_scale", False, "not a number"),
    ("seed", -math.inf, "not finite"),
    ("seed", -2, "out of range"),
    ("seed", LAST_SEED + 1, "out of range"),
    ("seed", 10**16, "out of range"),
    ("seed", "1e16", "out of range"),
    ("strength", 0.09, "out of range"),
    ("strength", 1.01, "out of range"),
    ("high_noise_fraction", -0.01, "out of range"),
    ("img_width", 504, "out of range"),
    ("img_height", 2056, "out of range"),
    ("img_width", 700, "not a multiple of 8"),
    ("img_height", "1023", "not a multiple of 8"),
    ("refiner", "maybe", "not true or false"),
    ("refiner", "on", "not true or false"),
    ("refiner", 2, "not true or false"),
    ("refiner", "", "not true or false"),
    ("refiner", math.nan, "not true or false"),
    ("refiner", [True], "not true or false"),
    ("style", "Base", "not known here"),
    ("style", "no such style", "not known here"),
    ("style", 3, "not known here"),
    ("scheduler", "UNIPC ", "not known here"),
    ("scheduler", "DPM++ 2M Karras", "not known here"),
    ("scheduler", "DPM adaptive", "not known here"),
    ("scheduler", ["UniPC"], "not known here"),
    ("prompt", "", "is empty"),
    ("prompt", " \t\n\u3000", "is empty"),
    ("prompt", 7, "not text"),
    ("prompt", ["a circle"], "not text"),
    ("prompt", "x" * 20_001, "too long"),
    ("prompt", "a\0b", "not text"),
    ("prompt", "half \ud83d", "not text"),
    ("negative_prompt", "x" * 20_001, "too long"),
    ("negative_prompt", False, "not text"),
]


def numbered(rows: list[tuple[str, object, Any]]) -> list[str]:
    """Names for rows whose values are too long or too odd to be a test's name."""
    return [f"{name}-{row}" for row, (name, _, _) in enumerate(rows)]


@pytest.mark.parametrize(("name", "sent", "meant"), ACCEPTED, ids=numbered(ACCEPTED))
def test_a_form_that_means_one_thing_is_read_as_it(ask: Ask, name: str, sent: object, meant: object) -> None:
    value = ask(**{name: sent}).values[name]
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(("name", "sent", "reason"), REFUSED, ids=numbered(REFUSED))
def test_a_value_that_is_not_allowed_is_refused_with_the_reason(ask: Ask, name: str, sent: object, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason) as refused:
        ask(**{name: sent})
    assert [problem.parameter for problem in refused.value.problems] == [name]
    assert "; allowed is " in refused.value.problems[0].problem
    assert refused.value.sentence.startswith(f"{name}: ")


@pytest.mark.parametrize("slug", DEFAULTS)
@pytest.mark.parametrize("absent", [{}, "null"])
def test_what_is_left_out_or_null_has_its_default(ask: Ask, slug: str, absent: object) -> None:
    optional = {name: value for name, value in DEFAULTS[slug].items() if value is not REQUIRED}
    values = ask(slug, **({} if absent == {} else dict.fromkeys(optional | ADDED))).values
    assert {name: values[name] for name in optional} == optional | {"seed": None}
    assert {name: value for name, value in values.items() if name not in DEFAULTS[slug]} == ADDED


@pytest.mark.parametrize("missing", [{}, {"prompt": None, "image": None}])
def test_a_required_field_that_is_missing_or_null_is_named(catalogue: Catalogue, missing: dict[str, object]) -> None:
    with pytest.raises(BadRequest) as refused:
        read_request(catalogue.endpoint("sdxl-img2img"), missing)
    assert [(problem.parameter, problem.value) for problem in refused.value.problems] == [
        ("image", None),
        ("prompt", None),
    ]
    assert "image: is missing" in refused.value.sentence


@pytest.mark.parametrize("image", ["", "  ", 5, ["data:,"], {"url": "x"}])
def test_an_image_that_is_no_text_or_empty_is_refused(ask: Ask, image: object) -> None:
    with pytest.raises(BadRequest, match="allowed is an http"):
        ask("sdxl-img2img", image=image)


def test_an_image_may_be_longer_than_a_prompt(ask: Ask) -> None:
    assert ask("sdxl-img2img", image="A" * 100_000).text("image") == "A" * 100_000


@pytest.mark.parametrize(("name", "limits"), RANGES.items())
def test_both_ends_of_a_range_are_allowed(ask: Ask, name: str, limits: tuple[float, float]) -> None:
    for end in limits:
        ask(**{name: end})
        ask(**{name: str(end)})


def test_image_to_image_takes_guidance_down_to_a_tenth(ask: Ask) -> None:
    assert ask("sdxl-img2img", guidance_scale="0.1").number("guidance_scale") == 0.1


def test_an_answer_says_the_value_and_every_allowed_name(ask: Ask) -> None:
    with pytest.raises(BadRequest) as refused:
        ask("sdxl-img2img", base_model="sd15")
    assert refused.value.sentence == (
        'base_model: "sd15" is not known here; allowed is one of juggernaut, realvis, protovision, yamers_realistic'
    )


def test_an_answer_says_the_allowed_range(ask: Ask) -> None:
    with pytest.raises(BadRequest) as refused:
        ask(img_width=700)
    assert (
        refused.value.sentence == "img_width: 700 is not a multiple of 8; allowed is a multiple of 8 from 512 to 2048"
    )


def test_all_problems_of_a_request_are_in_one_answer(ask: Ask) -> None:
    with pytest.raises(BadRequest) as refused:
        ask(prompt="", samples=9, scheduler="nope", seed=10**16, img_width=700, refiner="maybe")
    named = {problem.parameter: problem.value for problem in refused.value.problems}
    assert named == {
        "prompt": "",
        "samples": 9,
        "scheduler": "nope",
        "seed": 10**16,
        "img_width": 700,
        "refiner": "maybe",
    }


@pytest.mark.parametrize(
    "value",
    ["x" * 100_000, 10**5000, [[0] * 10_000], math.nan, "\ud800", {"a": "\ud800"}],
    ids=["long text", "long integer", "nested list", "nan", "half a surrogate pair", "object"],
)
def test_what_an_answer_quotes_is_short_and_can_be_sent(ask: Ask, value: object) -> None:
    with pytest.raises(BadRequest) as refused:
        ask(guidance_scale=value)
    problem = refused.value.problems[0]
    body = json.dumps([problem.value, problem.problem], ensure_ascii=False, allow_nan=False).encode()
    assert len(body) < 500


def test_unknown_fields_are_named_in_the_order_sent(ask: Ask) -> None:
    request = ask(steps=20, negativePrompt="x", shape=None, width=512, sampler_name="Euler")
    assert request.ignored == ("steps", "negativePrompt", "shape", "width", "sampler_name")


def test_a_field_of_another_endpoint_is_ignored_and_named(ask: Ask) -> None:
    request = ask("sdxl1.0-realvis", style="no such style", refiner="yes", strength=99)
    assert request.ignored == ("style", "refiner", "strength")
    assert "style" not in request.values


def test_a_known_field_without_effect_is_read_and_not_called_ignored(ask: Ask) -> None:
    request = ask(refiner=False, strength=0.5)
    assert request.ignored == ()
    assert request.number("strength") == 0.5


def test_a_list_is_read_object_by_object(ask: Ask) -> None:
    sent = [
        {"name": "film", "weight": "0.5"},
        {"name": "ink"},
        {"weight": -4, "name": "ink"},
        {"name": "a", "weight": None},
    ]
    assert ask(loras=sent).rows("loras") == (("film", 0.5), ("ink", 1.0), ("ink", -4.0), ("a", 1.0))
    assert ask(loras=[]).rows("loras") == ask().rows("loras") == ()


WRONG_LISTS: list[tuple[object, str, str]] = [
    ("film", "loras", '"film" is not a list; allowed is a list of at most 8 objects with name and weight'),
    ({"name": "film"}, "loras", "an object is not a list; allowed is"),
    ([{"name": "film"}] * 9, "loras", "a list of 9 is too long; allowed is a list of at most 8"),
    (["film"], "loras[0]", '"film" is not an object; allowed is one with name and weight'),
    ([{"weight": 1}], "loras[0].name", "is missing; allowed is text of 1 to 200 characters"),
    ([{"name": " "}], "loras[0].name", '" " is empty; allowed is text'),
    ([{"name": "x" * 201}], "loras[0].name", "is too long; allowed is text of 1 to 200 characters"),
    ([{"name": 3}], "loras[0].name", "3 is not text; allowed is text"),
    (
        [{"name": "a"}, {"name": "b", "weight": 4.5}],
        "loras[1].weight",
        "4.5 is out of range; allowed is a number from -4",
    ),
    ([{"name": "a", "weight": math.nan}], "loras[0].weight", "nan is not finite; allowed is a number from -4 to 4"),
    ([{"name": "a", "wieght": 1}], "loras[0].wieght", "is not known here; known are name and weight"),
]


@pytest.mark.parametrize(("sent", "where", "said"), WRONG_LISTS, ids=[f"{n}" for n in range(len(WRONG_LISTS))])
def test_what_is_wrong_in_a_list_is_named_by_its_place(ask: Ask, sent: object, where: str, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        ask(loras=sent)
    (problem,) = refused.value.problems
    assert problem.parameter == where
    assert said in problem.problem
    assert can_be_sent(refused.value)


def test_all_that_is_wrong_in_a_list_is_told_with_the_rest(ask: Ask) -> None:
    with pytest.raises(BadRequest) as refused:
        ask(loras=[{"name": "", "weight": 9, "half \ud83d": 1}, 5], samples=9)
    named = [problem.parameter for problem in refused.value.problems]
    assert sorted(named) == ["loras[0].half \\ud83d", "loras[0].name", "loras[0].weight", "loras[1]", "samples"]
    assert can_be_sent(refused.value)


def test_values_are_had_by_their_type(ask: Ask) -> None:
    request = ask(samples="2", guidance_scale=9, refiner="no")
    assert request.text("prompt") == "a red circle"
    assert (request.integer("samples"), request.number("guidance_scale"), request.switch("refiner")) == (2, 9.0, False)


CATALOGUE = load_catalogue()
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**500), 10**500)
    | st.floats()
    | st.text(st.characters())
    | st.floats().map(str)
    | st.integers().map(str)
)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)

LISTS = st.lists(ANYTHING | st.fixed_dictionaries({"name": st.text()}, optional={"weight": SCALARS}), max_size=9)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    slug = draw(st.sampled_from(list(DEFAULTS)))
    names = st.sampled_from([*DEFAULTS[slug], *ADDED]) | st.text()
    fields = draw(st.dictionaries(names, ANYTHING, max_size=6) | st.fixed_dictionaries({"loras": LISTS}))
    return slug, {"prompt": "a circle", "image": "data:,"} | fields


def outcome(slug: str, body: dict[str, Any]) -> ValidRequest | BadRequest:
    try:
        return read_request(CATALOGUE.endpoint(slug), body)
    except BadRequest as refused:
        return refused


def can_be_sent(refused: BadRequest) -> bool:
    told = [refused.sentence, *(problem.value for problem in refused.problems)]
    return bool(json.dumps(told, allow_nan=False, ensure_ascii=False).encode())


@given(bodies())
def test_any_body_is_read_within_its_limits_or_refused_with_an_answer_that_can_be_sent(
    drawn: tuple[str, dict[str, Any]],
) -> None:
    slug, body = drawn
    result = outcome(slug, body)
    if isinstance(result, BadRequest):
        assert result.problems
        assert can_be_sent(result)
        return
    assert set(result.values) == {*DEFAULTS[slug], *ADDED}
    assert set(result.ignored) == set(body) - {*DEFAULTS[slug], *ADDED}
    assert all(isinstance(name, str) and -4 <= weight <= 4 for name, weight in result.rows("loras"))
    assert 1 <= result.integer("samples") <= 4
    assert 0.1 <= result.number("guidance_scale") <= 25
    assert result.values["seed"] is None or 0 <= result.integer("seed") <= LAST_SEED


@given(st.integers(0, LAST_SEED), st.sampled_from([int, str, "{}.0".format]))
def test_a_seed_keeps_all_its_bits(seed: int, form: Any) -> None:
    body = {"prompt": "a circle", "seed": form(seed)}
    assert read_request(CATALOGUE.endpoint("sdxl1.0-realvis"), body).integer("seed") == seed
