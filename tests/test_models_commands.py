"""`gesso models`: files that people already have, made known, bound and verified, also while a server runs."""

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gesso.cli.models import models
from gesso.errors import GessoError
from gesso.sdxl.architecture import Architecture
from gesso.sdxl.writing import write_weights
from tests.hub import Hub, running_hub
from tests.serving import Installation, Server, install, install_tiny
from tests.tiny import architecture, build_parts, write_tiny, write_tiny_folder

ASKED = {"prompt": "a red boat", "seed": 5, "num_inference_steps": 20, "img_width": 512, "img_height": 512}


@pytest.fixture
def house(tmp_path: Path) -> Installation:
    """An installation with the shipped catalogue and no checkpoint but the embedded ones."""
    (tmp_path / "data").mkdir()
    return install(tmp_path / "data")


def write_lora(path: Path, width: int, strength: float = 1) -> Path:
    """A LoRA of a UNet that is `width` channels wide in its middle."""
    module = "lora_unet_mid_block_attentions_0_proj_in"
    factors = {"down": torch.ones(2, width), "up": torch.full((width, 2), strength)}
    save_file({f"{module}.lora_{name}.weight": factor for name, factor in factors.items()}, path)
    return path


def listed(house: Installation) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(house.run("models", "list", "--json").stdout)}


def noted(house: Installation) -> dict[str, Any]:
    registry: dict[str, Any] = json.loads((house.folder / "models" / "registry.json").read_text())
    return registry


def test_a_file_is_added_where_it_lies(house: Installation, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "my model.safetensors", prediction_type="v_prediction")
    assert house.run("models", "add", str(path)).stdout == "my model: a base, predicts v_prediction\n"
    row = listed(house)["my model"]
    assert (row["kind"], row["present"], row["file"]) == ("base", True, str(path))
    (entry,) = noted(house)["checkpoint"]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_a_refiner_and_a_vae_are_told_apart(house: Installation, tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "folder-1.0")
    refiner = write_tiny(tmp_path / "refiner.safetensors", "refiner")
    said = [house.run("models", "add", str(path)).stdout for path in (folder, refiner, folder / "vae")]
    assert said == ["folder-1.0: a base, predicts epsilon\n", "refiner: a refiner, predicts epsilon\n", "vae: a vae\n"]


def test_what_is_in_the_folder_of_models_is_noted_by_its_place_there(house: Installation) -> None:
    models = house.folder / "models"
    models.mkdir(parents=True)
    house.run("models", "add", str(write_tiny(models / "mine.safetensors")), "--id", "m", "--title", "Mine")
    (entry,) = noted(house)["checkpoint"]
    assert (entry["id"], entry["title"], entry["file"]) == ("m", "Mine", "mine.safetensors")


def test_a_file_that_was_published_is_known_by_its_hash(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "renamed.safetensors")
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(
        '[[checkpoint]]\nid = "published"\ntitle = "As published"\nkind = "base"\nfile = "elsewhere.safetensors"\n'
        '[checkpoint.source]\nrepository = "a/b"\nlicence = "MIT"\n'
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
    )
    house = install(tmp_path / "data", catalogue_file=str(catalogue))
    assert house.run("models", "add", str(path)).stdout == "published: As published, known by its hash\n"
    assert (listed(house)["published"]["present"], listed(house)["published"]["file"]) == (True, str(path))


def test_a_part_that_is_missing_must_be_lent(house: Installation, tmp_path: Path) -> None:
    whole = architecture()
    bare = Architecture("base", "epsilon", True, whole.unet, None, None, None)
    path = tmp_path / "unet.safetensors"
    write_weights(path, bare, unet=build_parts(whole)["unet"])
    assert "it has no VAE in it; say with --vae" in house.run("models", "add", str(path), status=1).stderr
    lender = house.run("models", "add", str(write_tiny(tmp_path / "whole.safetensors")))
    assert lender.stdout.startswith("whole: ")
    refused = house.run("models", "add", str(path), "--vae", "whole", status=1).stderr
    assert "it has no text encoders in it" in refused
    house.run("models", "add", str(path), "--vae", "whole", "--text-encoders", "whole", "--clip-skip", "1")
    entry = noted(house)["checkpoint"][-1]
    assert (entry["vae"], entry["text_encoders"], entry["clip_skip"]) == ("whole", "whole", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "nowhere.safetensors"), "nowhere.safetensors is not there"),
        (("add", "half.safetensors"), "has a change without its `up`: lora_unet_mid.lora_down.weight stands alone"),
        (
            ("add", "lora.safetensors", "--family", "sdxl"),
            "does not fit: lora_unet_mid_block_attentions_0_proj_in.lora_up",
        ),
        (("add", "lora.safetensors", "--family", "flux"), "there is no family 'flux'; there are: mini, sdxl"),
        (("add", "lora.safetensors"), "it may be made for another family of models"),
        (("add", "mine.safetensors", "--id", "mini-base"), "checkpoint 'mini-base' is there twice"),
        (("add", "mine.safetensors", "--clip-skip", "0"), "clip_skip = 0 is none of 1 to 12"),
        (("add", "mine.safetensors", "--vae", "nope"), "vae = 'nope' is no checkpoint"),
        (("bind", "sdxl1.0-nope", "mini-base"), "there is no 'sdxl1.0-nope' to bind"),
        (("bind", "sdxl1.0-realvis", "nope"), "'nope' is no checkpoint"),
        (("bind", "sdxl1.0-realvis", "mini-refiner"), "needs a base"),
        (("remove", "mini-base"), "no checkpoint 'mini-base' was added"),
        (("verify", "nope"), "there is no checkpoint 'nope'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_noted(
    arguments: tuple[str, ...], said: str, house: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESSO_DATA_DIR", str(house.folder))
    write_tiny(tmp_path / "mine.safetensors")
    save_file({"lora_unet_mid.lora_down.weight": torch.ones(2, 32)}, tmp_path / "half.safetensors")
    write_lora(tmp_path / "lora.safetensors", 32)
    given = [str(tmp_path / word) if word.endswith(".safetensors") else word for word in arguments]
    with pytest.raises(GessoError) as refused:
        models([*given], exit_on_error=False)
    assert said in refused.value.sentence
    assert not (house.folder / "models" / "registry.json").exists()


def test_a_checkpoint_that_paints_somewhere_is_not_forgotten(house: Installation, tmp_path: Path) -> None:
    house.run("models", "add", str(write_tiny(tmp_path / "mine.safetensors")))
    house.run("models", "bind", "sdxl1.0-realvis", "mine")
    assert "'mine' is no checkpoint" in house.run("models", "remove", "mine", status=1).stderr
    house.run("models", "bind", "sdxl1.0-realvis", "mini-realvis")
    house.run("models", "remove", "mine")
    assert "mine" not in listed(house)


def test_additions_at_once_are_all_noted(house: Installation, tmp_path: Path) -> None:
    paths = [write_tiny(tmp_path / f"{number}.safetensors", seed=number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: house.run("models", "add", str(path)), paths))
    assert {entry["id"] for entry in noted(house)["checkpoint"]} == {"0", "1", "2", "3"}


def test_the_owners_own_file_goes_before(tmp_path: Path) -> None:
    house = install_tiny(tmp_path)
    refused = house.run("models", "bind", "sdxl1.0-realvis", "mini-realvis", status=1).stderr
    assert "catalogue.toml binds 'sdxl1.0-realvis' to 'tiny-base' and goes before" in refused


def painted(server: Server, key: str, slug: str, **fields: object) -> bytes:
    with server.client(key) as client:
        answer = client.post(f"/v1/{slug}", json=ASKED | fields, headers={"Accept": "image/png"})
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content)).tobytes()


def test_a_binding_holds_in_a_running_server_at_once(house: Installation, tmp_path: Path) -> None:
    paths = [write_tiny(tmp_path / f"{name}.safetensors", seed=seed) for name, seed in (("one", 1), ("two", 2))]
    with house.serving() as server:
        key = server.key
        before = painted(server, key, "sdxl1.0-realvis")
        seen = []
        for path in paths:
            house.run("models", "add", str(path))
            house.run("models", "bind", "sdxl1.0-realvis", path.stem)
            seen.append(painted(server, key, "sdxl1.0-realvis"))
        house.run("models", "bind", "sdxl1.0-realvis", "mini-realvis")
        assert painted(server, key, "sdxl1.0-realvis") == before
        assert len({before, *seen}) == 3
        (house.folder / "models" / "registry.json").write_text("nonsense")
        assert painted(server, key, "sdxl1.0-realvis") == before, "what cannot be read changes nothing"
    assert "the catalogue stays as it was" in (house.folder / "server.log").read_text()


def test_a_lora_changes_the_pictures_that_name_it_and_no_others(house: Installation, tmp_path: Path) -> None:
    slug, prompt = "sdxl1.0-realvis", str(ASKED["prompt"])
    house.run("models", "add", str(write_tiny(tmp_path / "tiny.safetensors")), "--family", "tiny")
    house.run("models", "bind", slug, "tiny")
    with house.serving() as server:
        key = server.key
        plain = painted(server, key, slug)
        house.run("models", "add", str(write_lora(tmp_path / "film.safetensors", 32)))
        named = painted(server, key, slug, prompt=f"{prompt}<lora:film:0.5>")
        assert painted(server, key, slug, loras=[{"name": "film", "weight": 0.5}]) == named != plain
        assert painted(server, key, slug, loras=[{"name": "film", "weight": 1}]) not in (named, plain)
        assert painted(server, key, slug, loras=[{"name": "film", "weight": 0}]) == painted(server, key, slug) == plain
        with server.client(key) as client:
            refused = client.post(f"/v1/{slug}", json=ASKED | {"loras": [{"name": "flim"}]})
    assert refused.status_code == 400
    assert refused.json()["error"] == "loras: there is no LoRA 'flim' here; for this model there are: film"


def test_a_base_and_its_refiner_are_bound_in_one_step(house: Installation, tmp_path: Path) -> None:
    house.run("models", "add", str(write_tiny(tmp_path / "base.safetensors")))
    house.run("models", "add", str(write_tiny(tmp_path / "refiner.safetensors", "refiner")))
    assert "of the same family" in house.run("models", "bind", "sdxl1.0-txt2img", "base", status=1).stderr
    house.run("models", "bind", "sdxl1.0-txt2img", "base", "--refiner", "refiner")
    assert listed(house)["base"]["serves"] == ["sdxl1.0-txt2img"]
    assert listed(house)["refiner"]["serves"] == ["sdxl1.0-txt2img (refiner)"]


def test_binding_what_is_not_here_yet_says_so(house: Installation) -> None:
    said = house.run("models", "bind", "sdxl1.0-realvis", "realvis-xl-5").stderr
    assert "RealVisXL_V5.0_fp16.safetensors is not there yet" in said


def test_files_are_verified_by_their_hash_and_their_weights(house: Installation, tmp_path: Path) -> None:
    whole = write_tiny(tmp_path / "whole.safetensors")
    house.run("models", "add", str(whole))
    house.run("models", "add", str(write_tiny_folder(tmp_path / "folder")))
    rows = {row["id"]: row for row in json.loads(house.run("models", "verify", "--json").stdout)}
    assert rows["whole"] == {"id": "whole", "good": True, "found": "every weight is there, and the sha256 is right"}
    assert rows["folder"]["found"] == "every weight is there"
    assert rows["mini-base"]["good"], "the embedded ones too"
    data = bytearray(whole.read_bytes())
    data[-1] ^= 1
    whole.write_bytes(data)
    (row,) = json.loads(house.run("models", "verify", "whole", "--json", status=1).stdout)
    assert "and should have" in row["found"]
    whole.write_bytes(data[:-1000])
    assert "not a whole safetensors file" in house.run("models", "verify", "whole", status=1).stdout


def test_a_lora_is_known_by_the_family_that_it_fits(house: Installation, tmp_path: Path) -> None:
    house.run("models", "add", str(write_tiny(tmp_path / "tiny.safetensors")), "--family", "tiny")
    path = write_lora(tmp_path / "film.safetensors", 32)
    assert house.run("models", "add", str(path)).stdout == "film: a LoRA for the family tiny, changes unet\n"
    large = write_lora(tmp_path / "large.safetensors", 1280)
    assert house.run("models", "add", str(large), "--id", "big").stdout.startswith("big: a LoRA for the family sdxl")
    assert listed(house)["film"] | {"file": None} == {
        "id": "film",
        "kind": "lora",
        "present": True,
        "megabytes": 0.0,
        "serves": [],
        "file": None,
    }
    entry = noted(house)["checkpoint"][1]
    assert (entry["kind"], entry["family"]) == ("lora", "tiny")
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_lora_is_verified_and_forgotten_as_a_checkpoint_is(house: Installation, tmp_path: Path) -> None:
    tiny, path = write_tiny(tmp_path / "tiny.safetensors"), write_lora(tmp_path / "film.safetensors", 32)
    house.run("models", "add", str(tiny), "--family", "tiny")
    house.run("models", "add", str(path))
    (row,) = json.loads(house.run("models", "verify", "film", "--json").stdout)
    assert row == {"id": "film", "good": True, "found": "every weight is there, and the sha256 is right"}
    write_lora(path, 32, strength=2)
    assert "and should have" in house.run("models", "verify", "film", status=1).stdout
    write_lora(path, 48)
    assert "does not fit" in house.run("models", "verify", "film", status=1).stdout
    assert "needs a base, 'film' is a lora" in house.run("models", "bind", "sdxl1.0-realvis", "film", status=1).stderr
    house.run("models", "remove", "film")
    assert "film" not in listed(house)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--vae", "tiny"), "a LoRA changes what others paint with, and borrows nothing"),
        (("--id", "a:b"), "'a:b': a LoRA is named in prompts, so without any of < > : or outer spaces"),
    ],
)
def test_a_lora_that_cannot_be_used_is_not_noted(
    arguments: tuple[str, ...], said: str, house: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESSO_DATA_DIR", str(house.folder))
    models(["add", str(write_tiny(tmp_path / "tiny.safetensors")), "--family", "tiny"], result_action="return_value")
    with pytest.raises(GessoError) as refused:
        models(["add", str(write_lora(tmp_path / "film.safetensors", 32)), *arguments], exit_on_error=False)
    assert said in refused.value.sentence
    assert [entry["id"] for entry in noted(house)["checkpoint"]] == ["tiny"]


def test_nothing_is_lent_by_a_lora(house: Installation, tmp_path: Path) -> None:
    tiny = write_tiny(tmp_path / "tiny.safetensors")
    house.run("models", "add", str(tiny), "--family", "tiny")
    house.run("models", "add", str(write_lora(tmp_path / "film.safetensors", 32)))
    again = ("models", "add", str(tiny), "--id", "other", "--family", "tiny", "--vae", "film")
    assert "vae = 'film' has none of its own to lend" in house.run(*again, status=1).stderr


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """It has a single file and a folder with weights in two precisions."""
    (tmp_path / "hub" / "ann" / "files").mkdir(parents=True)
    write_tiny(tmp_path / "hub" / "ann" / "files" / "model.safetensors")
    write_tiny_folder(tmp_path / "hub" / "ann" / "folder")
    write_tiny_folder(tmp_path / "hub" / "ann" / "folder", variant="fp16")
    with running_hub(tmp_path / "hub") as hub:
        yield hub


def at(house: Installation, hub: Hub) -> Installation:
    """The same installation, for which this is the hub."""
    return replace(house, environment={**house.environment, "HF_ENDPOINT": hub.url})


def test_a_file_is_pulled_over_a_bad_network_and_known(house: Installation, hub: Hub) -> None:
    hub.breaks, hub.lies = 2, 1
    data = (hub.folder / "ann" / "files" / "model.safetensors").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    done = at(house, hub).run("models", "pull", "ann/files:model.safetensors", "--sha256", digest, "--yes")
    assert "Licence: cc0-1.0" in done.stderr
    assert done.stdout == "model: a base, predicts epsilon\n"
    assert (house.folder / "models" / "model.safetensors").read_bytes() == data
    assert noted(house)["checkpoint"][0]["sha256"] == digest
    assert sum(wanted is not None for _, wanted in hub.asked) == 2, "it went on twice"


def test_a_folder_is_pulled_in_half_precision_where_there_is_one(house: Installation, hub: Hub) -> None:
    hub.breaks = 1
    assert at(house, hub).run("models", "pull", "ann/folder", "--yes").stdout == "folder: a base, predicts epsilon\n"
    names = {path.name for path in (house.folder / "models" / "folder" / "unet").iterdir()}
    assert names == {"config.json", "diffusion_pytorch_model.fp16.safetensors"}
    assert json.loads(house.run("models", "verify", "folder", "--json").stdout)[0]["good"]


def test_a_checkpoint_of_the_catalogue_is_pulled_to_its_place(tmp_path: Path, hub: Hub) -> None:
    digest = hashlib.sha256((hub.folder / "ann" / "files" / "model.safetensors").read_bytes()).hexdigest()
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(
        '[[checkpoint]]\nid = "known"\ntitle = "K"\nkind = "base"\nfile = "k.safetensors"\n[checkpoint.source]\n'
        'repository = "ann/files"\nfile = "model.safetensors"\nlicence = "MIT"\nnote = "Read this."\n'
        f'sha256 = "{digest}"\n'
    )
    house = at(install(tmp_path / "data", catalogue_file=str(catalogue)), hub)
    assert "nobody is here to agree" in house.run("models", "pull", "known", status=1).stderr
    done = house.run("models", "pull", "known", "--yes")
    assert "Licence: MIT. Read this." in done.stderr
    assert listed(house)["known"]["present"]
    assert "is there already" in house.run("models", "pull", "known", "--yes", status=1).stderr


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("ann/files", "name one of its files: model.safetensors"),
        ("ann/nothing:x.safetensors", "answered 404"),
        ("nonsense", "is no checkpoint of the catalogue"),
        ("mini-base", "nobody has said where 'mini-base' can be had"),
    ],
)
def test_what_cannot_be_pulled_is_told(what: str, said: str, house: Installation, hub: Hub) -> None:
    assert said in at(house, hub).run("models", "pull", what, "--yes", status=1).stderr


def test_a_lora_is_pulled_and_known_as_one(house: Installation, hub: Hub) -> None:
    write_lora(hub.folder / "ann" / "files" / "film.safetensors", 1280)
    done = at(house, hub).run("models", "pull", "ann/files:film.safetensors", "--yes")
    assert done.stdout == "film: a LoRA for the family sdxl, changes unet\n"
    assert listed(house)["film"]["kind"] == "lora"


def test_an_address_is_pulled_under_a_name_of_ones_own(house: Installation, hub: Hub) -> None:
    house.run("models", "pull", f"{hub.url}/ann/files/model.safetensors", "--id", "own", "--yes")
    assert listed(house)["own"]["file"].endswith("models/own.safetensors")
