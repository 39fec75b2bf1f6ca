"""Which LoRAs a request gets: what its prompt and its parameter name, added up and made definite."""

import json
from pathlib import Path

import pytest

from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.catalogue.entries import Checkpoint
from gesso.catalogue.forms import RegistryForm
from gesso.catalogue.validation import read_request
from gesso.engine.messages import LoraFile
from gesso.errors import BadRequest
from gesso.jobs.infotext import infotext
from gesso.jobs.order import Order, resolve
from gesso.prompt.loras import MOST
from gesso.prompt.understanding import understand

TEXT = "sdxl1.0-txt2img"
MODELS = Path("/models")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The shipped one, in which somebody has noted LoRAs."""
    entries = [
        Checkpoint(name, name, f"{name}.safetensors", kind="lora", family=family)
        for name, family in (
            ("film", "mini"),
            ("ink", "mini"),
            ("large", "sdxl"),
            *((f"l{n}", "mini") for n in range(9)),
        )
    ]
    return load_catalogue(registry=RegistryForm(checkpoint=tuple(entries)))


def ordered(catalogue: Catalogue, **body: object) -> Order:
    valid = read_request(catalogue.endpoint(TEXT), {"prompt": "a house", "seed": 1, **body})
    return resolve(valid, "an id", catalogue, models_dir=MODELS)


def file(name: str, unet: float, text_encoders: float) -> LoraFile:
    return LoraFile(name, f"/models/{name}.safetensors", unet=unet, text_encoders=text_encoders)


def test_a_prompt_names_loras_that_are_no_words(catalogue: Catalogue) -> None:
    order = ordered(catalogue, prompt="a <lora:film:0.8>house <lora:ink:0.25:1>")
    assert order.paint.checkpoint.loras == (file("film", 0.8, 0.8), file("ink", 1, 0.25))
    assert order.paint.prompt == understand("a house ", 25).schedule
    assert order.prompt == "a <lora:film:0.8>house <lora:ink:0.25:1>"


def test_the_parameter_names_them_too(catalogue: Catalogue) -> None:
    asked = [{"name": "ink", "weight": "0.5"}, {"name": "film"}]
    order = ordered(catalogue, loras=asked)
    assert order.paint.checkpoint.loras == (file("film", 1, 1), file("ink", 0.5, 0.5))
    assert order.paint.prompt == understand("a house", 25).schedule
    assert order.prompt == "a house <lora:ink:0.5> <lora:film:1>"
    assert infotext(order, 1).startswith("a house <lora:ink:0.5> <lora:film:1>\nSteps: 25")


def test_what_a_picture_tells_asks_for_it_again(catalogue: Catalogue) -> None:
    first = ordered(catalogue, prompt="a <lora:film:0.3:0.9>house", loras=[{"name": "film", "weight": 1 / 3}])
    again = ordered(catalogue, prompt=first.prompt)
    assert again.paint.checkpoint == first.paint.checkpoint
    assert [part.text.strip() for part in again.paint.prompt[0].parts] == ["a house"]


def test_equal_sets_are_equal_however_they_are_asked_for(catalogue: Catalogue) -> None:
    orders = [
        ordered(catalogue, prompt="<lora:ink:0.5><lora:film>a house"),
        ordered(catalogue, prompt="a house<lora:film>", loras=[{"name": "ink", "weight": 0.5}]),
        ordered(catalogue, loras=[{"name": "ink", "weight": 0.25}, {"name": "film"}, {"name": "ink", "weight": 0.25}]),
    ]
    assert len({order.paint.checkpoint for order in orders}) == 1


def test_weights_of_one_name_add_up_and_what_comes_to_nothing_is_left_out(catalogue: Catalogue) -> None:
    order = ordered(
        catalogue, prompt="<lora:film:0.5>a <lora:ink:te=0:unet=0>", loras=[{"name": "film", "weight": -0.5}]
    )
    assert order.paint.checkpoint == ordered(catalogue).paint.checkpoint
    half = ordered(catalogue, prompt="<lora:film:0.5:0>a").paint.checkpoint
    assert half.loras == (file("film", 0, 0.5),)


def test_the_refiner_is_not_changed(catalogue: Catalogue) -> None:
    refinement = ordered(catalogue, prompt="<lora:film>a house").paint.refinement
    assert refinement is not None
    assert refinement.checkpoint.loras == ()


def test_a_style_may_name_one(catalogue: Catalogue, tmp_path: Path) -> None:
    styles = tmp_path / "styles.json"
    styles.write_text(json.dumps([{"name": "filmic", "prompt": "{prompt} on film <lora:film:0.4>"}]))
    entry = catalogue.loras["film"]
    styled = load_catalogue(styles=styles, registry=RegistryForm(checkpoint=(entry,)))
    order = ordered(styled, style="filmic")
    assert order.paint.checkpoint.loras == (file("film", 0.4, 0.4),)
    assert order.paint.prompt == understand("a house on film ", 25).schedule


def test_a_request_is_written_down_as_it_could_be_sent_again(catalogue: Catalogue) -> None:
    order = ordered(catalogue, loras=[{"name": "film"}, {"name": "ink", "weight": "0.5"}])
    written = json.loads(json.dumps(dict(order.request)))
    assert written["loras"] == [{"name": "film", "weight": 1.0}, {"name": "ink", "weight": 0.5}]
    again = resolve(read_request(catalogue.endpoint(TEXT), written), "an id", catalogue, models_dir=MODELS)
    assert again == order


def problems(catalogue: Catalogue, **body: object) -> list[tuple[str, str]]:
    with pytest.raises(BadRequest) as refused:
        ordered(catalogue, **body)
    return [(one.parameter, one.problem) for one in refused.value.problems]


def test_a_name_that_is_not_known_is_refused_with_those_that_are(catalogue: Catalogue) -> None:
    there = "film, ink, l0, l1, l2, l3, l4, l5, l6, l7, l8"
    assert problems(catalogue, prompt="<lora:flim:0.8>a", loras=[{"name": "Film"}]) == [
        ("prompt", f"there is no LoRA 'flim' here; for this model there are: {there}"),
        ("loras", f"there is no LoRA 'Film' here; for this model there are: {there}"),
    ]
    assert problems(load_catalogue(), prompt="<lora:film>a")[0][1].endswith("for this model there are: none")


def test_a_checkpoint_is_no_lora(catalogue: Catalogue) -> None:
    assert problems(catalogue, loras=[{"name": "mini-base"}])[0][1].startswith("there is no LoRA 'mini-base' here")


def test_a_lora_of_another_family_is_refused(catalogue: Catalogue) -> None:
    assert problems(catalogue, loras=[{"name": "large"}]) == [
        ("loras", "the LoRA 'large' is for models of the family 'sdxl'; 'mini-base' is of 'mini'")
    ]


def test_at_most_eight_change_a_picture(catalogue: Catalogue) -> None:
    marks = "".join(f"<lora:l{n}>" for n in range(5))
    three, four = ([{"name": f"l{n}"} for n in range(5, last)] for last in (8, 9))
    assert len(ordered(catalogue, prompt=f"a{marks}", loras=three).paint.checkpoint.loras) == MOST == 8
    assert catalogue.endpoint(TEXT).parameters["loras"].longest == MOST
    assert problems(catalogue, prompt=f"a{marks}", loras=four) == [("loras", "9 LoRAs are named; at most 8 may be")]


def test_a_refusal_stays_short_however_many_are_named(catalogue: Catalogue) -> None:
    assert len(problems(catalogue, prompt="".join(f"<lora:x{n}>" for n in range(1000)))) == 1
    assert len(problems(catalogue, prompt="<lora:film:x>" * 1000, negative_prompt="<lora:film>" * 1000)) == MOST + 1


def test_everything_that_means_nothing_is_told_at_once(catalogue: Catalogue) -> None:
    said = problems(
        catalogue,
        prompt="a <lora:film:strong> <lora:ink:9>",
        negative_prompt=f"<lora:film:1> (fog:1{'0' * 400})",
        loras=[{"name": "nope"}],
    )
    assert [parameter for parameter, _ in said] == ["prompt", "prompt", "negative_prompt", "loras", "negative_prompt"]


def test_an_endpoint_without_the_parameter_takes_them_from_the_prompt(catalogue: Catalogue, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[bindings]\n"mine" = "mini-realvis"\n[[endpoint]]\nslug = "mine"\nname = "M"\ndescription = "M"\nprice = 1\n'
        'returns = "json"\n[endpoint.parameters]\nprompt = {}\nnegative_prompt = {}\nsamples = {}\nscheduler = {}\n'
        "num_inference_steps = {}\nguidance_scale = {}\nseed = {}\nimg_width = {}\nimg_height = {}\n"
    )
    mine = load_catalogue(own, registry=RegistryForm(checkpoint=(catalogue.loras["film"],)))
    valid = read_request(mine.endpoint("mine"), {"prompt": "a <lora:film>", "loras": []})
    assert valid.ignored == ("loras",)
    assert resolve(valid, "an id", mine, models_dir=MODELS).paint.checkpoint.loras == (file("film", 1, 1),)
