"""Folders in diffusers' layout, written by diffusers and transformers themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import Kind
from gesso.sdxl.checkpoint import load_text_encoders, load_unet, load_vae
from gesso.sdxl.weights import open_weights
from tests.tiny import architecture, build_parts, write_tiny_folder

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "checkpoint")


def require_whole(folder: Path, kind: Kind = "base", dtype: torch.dtype = torch.float32) -> None:
    """Every network of the folder has the weights that were written."""
    parts = build_parts(architecture(kind))
    encoders = load_text_encoders(str(folder), CPU, torch.float32)
    loaded: dict[str, Any] = {
        "unet": load_unet(str(folder), CPU, torch.float32).network,
        "vae": load_vae(str(folder), CPU, torch.float32).network,
        "text_encoder": encoders.first,
        "text_encoder_2": encoders.second,
    }
    for name, part in parts.items():
        state = loaded[name].state_dict()
        assert state.keys() == part.state_dict().keys()
        assert all(torch.equal(state[key], weight.to(dtype).float()) for key, weight in part.state_dict().items())


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def renamed(path: Path, rename: Callable[[str], str]) -> None:
    save_file({rename(name): tensor for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize("kind", ["base", "refiner"])
def test_a_folder_is_read_as_it_was_written(kind: Kind, tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path, kind)
    known = open_weights(str(folder)).architecture
    assert (known.kind, known.prediction_type, known.zero_terminal_snr) == (kind, "epsilon", False)
    assert known.force_zeros_for_empty_prompt == (kind == "base")
    require_whole(folder, kind)


def test_half_precision_is_read_where_there_is_no_full(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path, variant="fp16")
    assert list(folder.glob("unet/*.fp16.safetensors"))
    require_whole(folder, dtype=torch.float16)


def test_full_precision_goes_before_half(tmp_path: Path) -> None:
    write_tiny_folder(tmp_path, variant="fp16")
    require_whole(write_tiny_folder(tmp_path))


def test_weights_may_be_shared_out_among_files(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path, shard_size="200KB")
    assert len(list(folder.glob("unet/*.safetensors"))) > 1
    require_whole(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path, shard_size="200KB")
    lost = min(folder.glob("unet/*.safetensors"))
    lost.unlink()
    with pytest.raises(ServiceUnavailable, match=f"{lost.name} is not there"):
        load_unet(str(folder), CPU, torch.float32)


def test_an_index_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path, shard_size="200KB")
    index = next(folder.glob("unet/*.index.json"))
    edit(index, lambda table: table["weight_map"].update({"conv_in.weight": "../vae/secret.safetensors"}))
    with pytest.raises(ServiceUnavailable, match="does not lie beside it"):
        load_unet(str(folder), CPU, torch.float32)


def test_names_of_older_libraries_are_known(folder: Path) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def of_2022(name: str) -> str:
        for new, former in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{former}.")
        return name

    def with_model(name: str) -> str:
        return name if name.startswith("text_model.") else f"text_model.{name}"

    renamed(folder / "vae" / "diffusion_pytorch_model.safetensors", of_2022)
    renamed(folder / "text_encoder" / "model.safetensors", with_model)
    require_whole(folder)


def test_the_schedulers_configuration_says_what_is_predicted(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path, prediction_type="v_prediction")
    assert open_weights(str(folder)).architecture.prediction_type == "v_prediction"
    configuration = folder / "scheduler" / "scheduler_config.json"
    edit(configuration, lambda table: table.update(rescale_betas_zero_snr=True))
    assert open_weights(str(folder)).architecture.zero_terminal_snr


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prediction_type": "sample"}, "'sample' is none of"),
        ({"rescale_betas_zero_snr": True}, "said to predict epsilon"),
        ({"beta_schedule": "linear"}, "trained with beta_schedule = 'linear', not SDXL's 'scaled_linear'"),
        ({"_class_name": "EDMEulerScheduler"}, "trained by EDMEulerScheduler: such models are not served"),
    ],
)
def test_another_noise_than_sdxls_is_refused(change: dict[str, object], complaint: str, folder: Path) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", lambda table: table.update(change))
    with pytest.raises(ServiceUnavailable, match=complaint):
        open_weights(str(folder))


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "FluxPipeline", "StableDiffusionXLInpaintPipeline"])
def test_a_folder_for_another_pipeline_is_refused_by_its_name(name: str, folder: Path) -> None:
    edit(folder / "model_index.json", lambda table: table.update(_class_name=name))
    with pytest.raises(ServiceUnavailable, match=f"is for {name}; served are StableDiffusionXLPipeline"):
        open_weights(str(folder))


def test_a_folder_of_something_else_is_told_to_be_that(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ServiceUnavailable, match=r"empty is a folder without model_index\.json"):
        open_weights(str(tmp_path / "empty"))
    with pytest.raises(ServiceUnavailable, match="holds a UNet2DConditionModel alone: name the whole"):
        open_weights(str(folder / "unet"))


def test_a_folder_may_be_a_vae_alone(folder: Path) -> None:
    loaded = load_vae(str(folder / "vae"), CPU, torch.float32).network.state_dict()
    written = build_parts(architecture())["vae"].state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in written.items())


def test_pickles_in_a_folder_are_refused(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ServiceUnavailable, match=r"diffusion_pytorch_model\.bin is a pickle"):
        load_unet(str(folder), CPU, torch.float32)


def test_a_part_without_weights_is_named(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ServiceUnavailable, match=r"vae has no diffusion_pytorch_model\.safetensors in it"):
        load_vae(str(folder), CPU, torch.float32)


def test_a_part_that_the_index_knows_of_must_be_there(folder: Path) -> None:
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(ServiceUnavailable, match=r"unet/config\.json cannot be read"):
        open_weights(str(folder))


@pytest.mark.parametrize("text", ["nonsense", "[]"])
def test_a_table_that_is_none_is_named(text: str, folder: Path) -> None:
    (folder / "model_index.json").write_text(text)
    with pytest.raises(ServiceUnavailable, match=r"model_index\.json"):
        open_weights(str(folder))
