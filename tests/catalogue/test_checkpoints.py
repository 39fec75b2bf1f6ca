"""What paints where, out of the box and as an owner says."""

from pathlib import Path

import pytest

from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.catalogue.entries import MINI_WEIGHTS
from gesso.catalogue.price import Price
from gesso.catalogue.validation import read_request
from gesso.errors import SettingsError

BOUND = {
    "sdxl1.0-txt2img": {"base": "mini-base", "refiner": "mini-refiner"},
    "sdxl1.0-timeless": {"base": "mini-timeless"},
    "sdxl1.0-dreamshaper": {"base": "mini-dreamshaper"},
    "sdxl1.0-realvis": {"base": "mini-realvis"},
    "sdxl-img2img": {
        "juggernaut": "mini-juggernaut",
        "realvis": "mini-realvis",
        "protovision": "mini-protovision",
        "yamers_realistic": "mini-yamers_realistic",
    },
}

MINE = """
[[checkpoint]]
id = "mine"
title = "My own"
file = "mine.safetensors"
"""


def own(tmp_path: Path, text: str) -> Catalogue:
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    return load_catalogue(own=path)


def test_out_of_the_box_everything_is_painted_by_the_shipped_family(catalogue: Catalogue) -> None:
    assert {slug: dict(endpoint.checkpoints) for slug, endpoint in catalogue.endpoints.items()} == BOUND


def test_a_shipped_checkpoint_lies_in_the_package_and_others_in_the_folder_of_models(catalogue: Catalogue) -> None:
    models = Path("/models")
    assert catalogue.checkpoints["mini-base"].path(models) == MINI_WEIGHTS / "base.safetensors"
    assert catalogue.checkpoints["mini-base"].shipped
    sdxl = catalogue.checkpoints["sdxl-base-1.0"]
    assert sdxl.path(models) == models / "sd_xl_base_1.0.safetensors"
    assert not sdxl.shipped


def test_the_looks_borrow_encoders_and_vae_from_the_base(catalogue: Catalogue) -> None:
    base = catalogue.checkpoints["mini-base"]
    looks = [entry for entry in catalogue.checkpoints.values() if entry.family == "mini" and entry != base]
    assert base.text_encoders is None
    assert base.vae is None
    assert {(look.text_encoders, look.vae) for look in looks} == {("mini-base", "mini-base")}


def test_every_place_has_an_original_with_a_source_to_fetch_it_from(catalogue: Catalogue) -> None:
    names = {
        slug if role == "base" else f"{slug}/{role}"
        for slug, endpoint in catalogue.endpoints.items()
        for role in endpoint.checkpoints
    }
    assert set(catalogue.originals) == names
    for name, id in catalogue.originals.items():
        assert catalogue.checkpoints[id].kind == ("refiner" if name.endswith("/refiner") else "base")
        assert catalogue.checkpoints[id].source is not None


def test_a_source_names_repository_and_hash_and_no_address(catalogue: Catalogue) -> None:
    sources = [entry.source for entry in catalogue.checkpoints.values() if entry.source]
    assert len(sources) == 10
    for source in sources:
        assert source.repository.count("/") == 1
        assert "://" not in source.repository + source.note
        assert source.sha256 is None or len(bytes.fromhex(source.sha256)) == 32
        assert source.licence


def test_an_owner_binds_a_checkpoint_of_their_own(tmp_path: Path) -> None:
    catalogue = own(
        tmp_path,
        '[bindings]\n"sdxl1.0-realvis" = "mine"\n"sdxl-img2img/realvis" = "mine"\n' + MINE,
    )
    assert catalogue.endpoint("sdxl1.0-realvis").base({}) == "mine"
    assert catalogue.endpoint("sdxl-img2img").base({"base_model": "realvis"}) == "mine"
    assert catalogue.endpoint("sdxl-img2img").base({"base_model": "juggernaut"}) == "mini-juggernaut"
    assert catalogue.checkpoints["mine"].path(Path("/models")) == Path("/models/mine.safetensors")


def test_an_owner_sets_prices_down_to_nothing(tmp_path: Path) -> None:
    catalogue = own(tmp_path, '[prices]\n"sdxl1.0-realvis" = 0\n"sdxl1.0-timeless" = 0.0123\n')
    assert catalogue.endpoint("sdxl1.0-realvis").price == Price(0, 25, 1024 * 1024)
    assert catalogue.endpoint("sdxl1.0-timeless").price == Price(12_300, 30, 1024 * 1024)


@pytest.mark.parametrize(
    ("said", "price"),
    [
        ("0.02", Price(20_000, 25, 1024 * 1024)),
        ("{ price = 0.02 }", Price(20_000, 25, 1024 * 1024)),
        ("{ price_for = { steps = 50 } }", Price(8000, 50, None)),
        ("{ price = 0.02, price_for = { pixels = 262144 } }", Price(20_000, None, 512 * 512)),
        ("{ price = 0.02, price_for = {} }", Price(20_000)),
    ],
)
def test_an_owner_says_of_a_price_as_much_as_is_to_change(tmp_path: Path, said: str, price: Price) -> None:
    assert own(tmp_path, f'[prices]\n"sdxl1.0-realvis" = {said}\n').endpoint("sdxl1.0-realvis").price == price


def test_an_owner_adds_an_endpoint_from_the_known_fields(tmp_path: Path) -> None:
    catalogue = own(
        tmp_path,
        '[bindings]\n"my-model" = "mine"\n' + MINE + '[[endpoint]]\nslug = "my-model"\nname = "Mine"\n'
        'description = "My own."\nprice = 0.5\nreturns = "json"\n'
        "[endpoint.parameters]\nprompt = {}\nnum_inference_steps = { default = 4, minimum = 1 }\n",
    )
    request = read_request(catalogue.endpoint("my-model"), {"prompt": "a circle"})
    assert request.values == {"prompt": "a circle", "num_inference_steps": 4}
    assert catalogue.endpoint("my-model").base(request.values) == "mine"
    assert catalogue.endpoint("my-model").price == Price(500_000)


ENDPOINT = '[[endpoint]]\nslug = "{slug}"\nname = "M"\ndescription = "M"\nprice = {price}\nreturns = "json"\n'

WRONG = [
    ("bindings = 3", "own.toml: bindings"),
    ("[binding]\n", r"own.toml: binding: unknown key"),
    ('[bindings]\n"sdxl1.0-nope" = "mini-base"', "there is no 'sdxl1.0-nope' to bind; there are: sdxl1.0-txt2img"),
    ('[bindings]\n"sdxl1.0-realvis" = "nope"', "'sdxl1.0-realvis' = 'nope' is no checkpoint; there are: mini-base"),
    ('[bindings]\n"sdxl1.0-realvis" = "mini-refiner"', "needs a base, 'mini-refiner' is a refiner"),
    ('[bindings]\n"sdxl1.0-txt2img/refiner" = "mini-base"', "needs a refiner, 'mini-base' is a base"),
    ('[bindings]\n"sdxl1.0-txt2img" = "sdxl-base-1.0"', "bind 'sdxl1.0-txt2img/refiner' to one of the same family"),
    ('[prices]\n"nope" = 1', "prices: there is no endpoint 'nope'"),
    ('[prices]\n"sdxl1.0-realvis" = -1', "prices.sdxl1.0-realvis.price: Input should be greater than or equal to 0"),
    ('[prices]\n"sdxl1.0-realvis" = inf', "prices.sdxl1.0-realvis.price: Input should be a finite number"),
    ('[prices]\n"sdxl1.0-realvis" = 0.0000001', "finer than a millionth"),
    ('[prices]\n"sdxl1.0-realvis" = "cheap"', "prices.sdxl1.0-realvis.price: Input should be a valid number"),
    ('[prices]\n"sdxl1.0-realvis" = { cost = 1 }', "prices.sdxl1.0-realvis.cost: unknown key"),
    (
        '[prices]\n"sdxl1.0-realvis" = { price_for = { steps = 0 } }',
        "prices.sdxl1.0-realvis.price_for.steps: Input should be greater than 0",
    ),
    (MINE + "colour = 3", "checkpoint.0.colour: unknown key"),
    (MINE.replace("id =", "name ="), "checkpoint.0.id: is required"),
    (MINE + 'kind = "pickle"', "checkpoint.0.kind: Input should be 'base', 'refiner', 'vae' or 'lora'"),
    (MINE + 'kind = "lora"\nvae = "sdxl-base-1.0"', "a LoRA changes what others paint with, and borrows nothing"),
    (MINE.replace('"mine"', '"my:lora"') + 'kind = "lora"', "'my:lora': a LoRA is named in prompts, so without any of"),
    (
        MINE + 'vae = "film"\n[[checkpoint]]\nid = "film"\ntitle = "F"\nkind = "lora"\nfile = "f.safetensors"',
        "vae = 'film' has none of its own to lend",
    ),
    (
        '[bindings]\n"sdxl1.0-realvis" = "film"\n[[checkpoint]]\nid = "film"\ntitle = "F"\nkind = "lora"\nfile = "f"',
        "'sdxl1.0-realvis' needs a base, 'film' is a lora",
    ),
    (MINE.replace('"mine"', '"mini-base"'), "checkpoint 'mini-base' is there twice"),
    (MINE + "clip_skip = 0", "checkpoint 'mine': clip_skip = 0 is none of 1 to 12"),
    (MINE + 'clip_skip = "2"', "checkpoint.0.clip_skip: Input should be a valid integer"),
    (
        MINE + 'text_encoders = "fix"\n[[checkpoint]]\nid = "fix"\ntitle = "F"\nkind = "vae"\nfile = "f.safetensors"',
        "text_encoders = 'fix' has none of its own to lend",
    ),
    (MINE + 'vae = "nope"', "checkpoint 'mine': vae = 'nope' is no checkpoint"),
    (MINE + 'vae = "mini-base"', "is of the family 'mini', not 'sdxl'"),
    (MINE + 'family = "mini"\nvae = "mini-realvis"', "has none of its own to lend"),
    ("this is no TOML", "own.toml is not TOML"),
    (ENDPOINT.format(slug="sdxl-img2img", price=1) + "parameters = {}", "endpoint 'sdxl-img2img' is there twice"),
    (ENDPOINT.format(slug="My Model", price=1) + "parameters = {}", "endpoint.0.slug: String should match"),
    (ENDPOINT.format(slug="m", price=1) + "parameters = {}", "nothing is bound to 'm'"),
    (
        ENDPOINT.format(slug="m", price=1) + "price_for = { pixel = 1 }\nparameters = {}",
        "endpoint.0.price_for.pixel: unknown key",
    ),
    (
        ENDPOINT.format(slug="m", price=1) + "parameters.samples.minium = 1",
        "endpoint 'm': parameter samples: minium: unknown key",
    ),
    (
        ENDPOINT.format(slug="m", price=1) + "parameters.samples.default = 9",
        "parameter samples: the default 9 is out of range; allowed is an integer from 1 to 4",
    ),
    (
        ENDPOINT.format(slug="m", price=1) + 'parameters.eta = { type = "number", description = "", default = 0 }',
        "parameter eta: a number needs a minimum and a maximum",
    ),
    (ENDPOINT.format(slug="m", price=1) + "parameters.scheduler.choices = []", "an enum needs choices"),
    (ENDPOINT.format(slug="m", price=1) + "parameters.loras.fields = {}", "parameter loras: a list needs fields"),
    (
        ENDPOINT.format(slug="m", price=1) + "parameters.loras.fields.name.minium = 1",
        "parameter loras: name: .*minium: unknown key",
    ),
    (
        ENDPOINT.format(slug="m", price=1)
        + 'parameters.loras.fields.of = { type = "list", description = "", longest = 1, default = [], fields.a = '
        '{ type = "string", description = "", default = "" } }',
        "a list's fields cannot be lists",
    ),
    (ENDPOINT.format(slug="m", price=1) + 'parameters.scheduler.choices = "all"', "there is no list 'all'"),
    (
        ENDPOINT.format(slug="m", price=1) + 'parameters.scheduler.choices = ["UniPC", "PNDM", "PLMS"]',
        "the alias .* means another choice as well",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_a_wrong_file_stops_the_start_with_the_key_and_the_cause(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        own(tmp_path, text)


def test_a_longest_prompt_other_than_the_usual_is_kept_to() -> None:
    endpoint = load_catalogue(longest_prompt=5).endpoint("sdxl1.0-realvis")
    assert endpoint.parameters["prompt"].longest == 5
    assert endpoint.parameters["scheduler"].longest is None
