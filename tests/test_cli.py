"""The command line, as processes: what it prints, and that a mistake is exit status 1 and one clear line."""

import csv
import io
import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.serving import Installation, install, install_tiny

GPUS = torch.cuda.device_count()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install_tiny(tmp_path_factory.mktemp("installation"))


def test_a_picture_needs_no_server_and_can_be_looked_at_unfinished(tiny: Installation, tmp_path: Path) -> None:
    out, preview = tmp_path / "boat.png", tmp_path / "unfinished.png"
    arguments = ("generate", "a red boat", "--seed", "7", "--width", "512", "--height", "520", "--out", str(out))
    assert tiny.run(*arguments).stdout == f"{out}\n"
    first = out.read_bytes()
    assert Image.open(io.BytesIO(first)).size == (512, 520)
    tiny.run(*arguments, "--preview", str(preview))
    assert out.read_bytes() == first
    assert Image.open(io.BytesIO(preview.read_bytes())).size == (32, 34)
    assert {path.name for path in tmp_path.iterdir()} == {"boat.png", "unfinished.png"}


def test_several_samples_are_several_files_and_a_start_image_is_a_file(tiny: Installation, tmp_path: Path) -> None:
    start, out = tmp_path / "start.png", tmp_path / "out.png"
    Image.new("RGB", (600, 512), "red").save(start)
    arguments = ("generate", "a boat", "--model", "sdxl-img2img", "--image", str(start), "--samples", "2")
    said = tiny.run(*arguments, "--steps", "20", "--out", str(out)).stdout.split()
    assert said == [str(tmp_path / "out-1.png"), str(tmp_path / "out-2.png")]
    assert [Image.open(io.BytesIO(Path(path).read_bytes())).size for path in said] == [(600, 512)] * 2


def test_how_a_prompt_is_understood_is_shown(tiny: Installation) -> None:
    said = json.loads(tiny.run("prompt", "a (house:1.3) BREAK [hill:10]", "--steps", "20", "--json").stdout)
    assert said["chunks"] == 2
    assert [stretch["until_step"] for stretch in said["schedule"]] == [10, 20]
    assert said["schedule"][0]["parts"][:2] == [["a ", 1.0], ["house", 1.3]]
    assert ["BREAK", 0] in said["schedule"][0]["parts"]
    assert "1.300" in tiny.run("prompt", "a (house:1.3)").stdout


def test_accounts_keys_and_credits(tiny: Installation) -> None:
    tiny.run("accounts", "create", "ann", "--credits", "1.5")
    key = tiny.run("keys", "create", "ann").stdout.splitlines()[-1]
    assert key.startswith("SG_")
    assert len(key) >= 35
    assert key[3:].isalnum()
    tiny.run("credits", "add", "ann", "0.25")
    assert json.loads(tiny.run("credits", "show", "ann", "--json").stdout) == [
        {"name": "ann", "credits": 1.75, "free_credits": 0.0, "unlimited": False}
    ]
    (entry,) = json.loads(tiny.run("keys", "list", "ann", "--json").stdout)
    assert key.startswith(entry["prefix"])
    tiny.run("keys", "revoke", key[:8])
    (entry,) = json.loads(tiny.run("keys", "list", "ann", "--json").stdout)
    assert entry["revoked"]
    assert "ann" in tiny.run("accounts", "list").stdout


def test_the_books_are_held_against_their_entries_and_mended(tmp_path: Path) -> None:
    own = install(tmp_path)
    own.run("accounts", "create", "ann, inc.", "--credits", "1.5")
    own.run("credits", "add", "ann, inc.", "2", "--free", "--note", "welcome")
    assert own.run("credits", "reconcile").stdout == "1 balances are what their entries add up to.\n"
    with closing(sqlite3.connect(tmp_path / "gesso.db")) as database:
        database.execute("UPDATE accounts SET balance_micro = 9000000")
        database.commit()
    told = own.run("credits", "reconcile", status=1)
    assert told.stdout.startswith("Account 'ann, inc.' has 9 credits, 2 of them free, but its entries add up to 3.5")
    assert told.stderr == "gesso: 1 things are wrong; gesso credits reconcile --repair mends them.\n"
    assert own.run("credits", "reconcile", "--repair").stdout.endswith("That is mended.\n")
    (row,) = json.loads(own.run("credits", "show", "ann, inc.", "--json").stdout)
    assert (row["credits"], row["free_credits"]) == (3.5, 2.0)
    (day,) = csv.DictReader(own.run("credits", "statement", "ann, inc.", "--form", "csv").stdout.splitlines())
    assert (day["bought"], day["free"], day["balance"]) == ("1.5", "2", "3.5")


def test_what_an_account_and_a_key_may_do_is_set_and_shown(tmp_path: Path) -> None:
    own = install(tmp_path)
    own.run("accounts", "create", "ann", "--rate", "9/minute", "--share", "2")
    own.run("accounts", "set", "ann", "--rate", "none", "--running", "3", "--role", "owner")
    (account,) = json.loads(own.run("accounts", "list", "--json").stdout)
    assert (account["rate"], account["running"], account["share"], account["role"]) == (None, 3, 2, "owner")
    models = ("--models", "sdxl1.0-realvis", "--models", "sdxl-img2img")
    key = own.run("keys", "create", "ann", *models, "--expires", "90d", "--rate", "2/hour").stdout.strip()
    new = own.run("keys", "rotate", key, "--overlap", "1h").stdout.splitlines()[-1]
    old, other = json.loads(own.run("keys", "list", "ann", "--json").stdout)
    assert new.startswith(other["prefix"])
    assert old["models"] == other["models"] == ["sdxl1.0-realvis", "sdxl-img2img"]
    assert old["expires"] < other["expires"]


def test_models_say_what_they_serve_and_whether_they_are_here(tiny: Installation) -> None:
    listed = {row["id"]: row for row in json.loads(tiny.run("models", "list", "--json").stdout)}
    assert listed["tiny-base"]["present"]
    assert "sdxl1.0-txt2img" in listed["tiny-base"]["serves"]
    assert listed["tiny-refiner"]["serves"] == ["sdxl1.0-txt2img (refiner)"]
    assert not listed["sdxl-base-1.0"]["present"]


def test_the_doctor_finds_everything_in_order_or_says_what_is_not(tiny: Installation) -> None:
    found = {row["what"]: row for row in json.loads(tiny.run("doctor", "--json").stdout)}
    assert all(row["good"] for row in found.values())
    assert "cpu" in found["engine"]["found"] or "cuda" in found["engine"]["found"]
    assert found["memory"]["found"].startswith("everything that is bound stays loaded")
    (tiny.folder / "models" / "refiner.safetensors").rename(tiny.folder / "models" / "elsewhere")
    try:
        found = {row["what"]: row for row in json.loads(tiny.run("doctor", "--json", status=1).stdout)}
    finally:
        (tiny.folder / "models" / "elsewhere").rename(tiny.folder / "models" / "refiner.safetensors")
    assert "tiny-refiner" in found["checkpoints"]["found"]


def test_the_doctor_measures_how_fast_pictures_are_painted(tiny: Installation) -> None:
    found = {row["what"]: row for row in json.loads(tiny.run("doctor", "--bench", "--json").stdout)}
    assert re.search(r"tiny-base, \d+x\d+, \d+ steps of .*: \d+\.\d\d s, ", found["one picture"]["found"])
    assert re.search(r"\d\.\d\d pictures a second", found["8 at once"]["found"])


@pytest.mark.parametrize(
    ("device", "precision", "said"),
    [
        (
            "mps",
            "fp8",
            "setting precision = 'fp8': the device mps has no products of 8-bit floats; take bfloat16, or auto",
        ),
        ("cuda:99", "auto", f"setting device = 'cuda:99': torch finds {GPUS} CUDA GPUs here; take cpu, or auto"),
    ],
)
def test_an_engine_that_refuses_its_settings_ends_the_server_and_the_doctor_says_why(
    device: str, precision: str, said: str, tiny: Installation
) -> None:
    wrong = replace(tiny, environment={**tiny.environment, "GESSO_DEVICE": device, "GESSO_PRECISION": precision})
    *_, last = wrong.run("serve", "--port", "0", status=1).stderr.splitlines()
    assert last == f"gesso: {said}"
    found = {row["what"]: row for row in json.loads(wrong.run("doctor", "--json", status=1).stdout)}
    assert (found["engine"]["good"], found["engine"]["found"]) == (False, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "nonsense"),
        (("generate",), "PROMPT"),
        (("generate", "a boat", "--model", "sdxl9"), "sdxl1.0-txt2img"),
        (("generate", "a boat", "--steps", "5"), "num_inference_steps"),
        (("generate", "a boat", "--model", "sdxl1.0-realvis", "--style", "anime"), "no such parameter"),
        (("generate", "a boat", "--model", "sdxl-img2img", "--image", "nowhere.png"), "nowhere.png"),
        (("generate", "a boat", "--lora", "film:0.8", "--lora", "ink"), "there is no LoRA 'ink' here"),
        (("generate", "a boat", "--lora", "film:much"), "loras[0].weight: "),
        (("generate", "a boat", "--preview", "nowhere/unfinished.png"), "no folder nowhere"),
        (("prompt", "(boat:1e999)"), "weight"),
        (("prompt", "boat", "--steps", "many"), "many"),
        (("credits", "add", "nobody", "1"), "nobody"),
        (("credits", "show", "nobody"), "nobody"),
        (("keys", "create", "nobody"), "nobody"),
        (("keys", "revoke", "SG_nothing"), "SG_nothing"),
        (("accounts", "create", "owner-to-be", "--credits", "lots"), "lots"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: tuple[str, ...], said: str, tiny: Installation) -> None:
    error = tiny.run(*arguments, status=1).stderr
    assert error.startswith("gesso: ")
    assert len(error.splitlines()) == 1
    assert said in error
