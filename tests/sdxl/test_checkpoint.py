"""Checkpoints are read strictly, and what is wrong with one is said by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gesso.errors import ServiceUnavailable
from gesso.prompt.chunks import Chunk
from gesso.sdxl.architecture import SDXL_BASE, Architecture, PredictionType, read_architecture
from gesso.sdxl.checkpoint import load_text_encoders, load_unet, load_vae
from gesso.sdxl.weights import WeightsFile, write_weights
from tests.tiny import architecture, build_parts, write_tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoint") / "base.safetensors")


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def altered(base: Path, path: Path, change: Callable[[dict[str, Tensor]], object]) -> str:
    tensors = load_file(base)
    change(tensors)
    save_file(tensors, path, metadata=architecture().to_metadata())
    return str(path)


def test_what_is_written_is_what_is_read(base: Path) -> None:
    parts = build_parts(architecture())
    encoders = load_text_encoders(str(base), CPU, torch.float32)
    assert equal(load_unet(str(base), CPU, torch.float32).network, parts["unet"])
    assert equal(load_vae(str(base), CPU, torch.float32).network, parts["vae"])
    assert encoders.first is not None
    assert equal(encoders.first, parts["text_encoder"])
    assert equal(encoders.second, parts["text_encoder_2"])


def test_weights_come_in_the_precision_asked_for(base: Path) -> None:
    for load in (load_unet, load_vae):
        network = load(str(base), CPU, torch.bfloat16).network
        assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_checkpoint_says_what_it_predicts(prediction_type: PredictionType, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "x.safetensors", prediction_type=prediction_type)
    assert load_unet(str(path), CPU, torch.float32).prediction_type == prediction_type


def test_a_missing_weight_is_named(base: Path, tmp_path: Path) -> None:
    name = "model.diffusion_model.time_embed.0.weight"
    path = altered(base, tmp_path / "x.safetensors", lambda tensors: tensors.pop(name))
    with pytest.raises(ServiceUnavailable, match=f"lacks 1 weights.*{name}"):
        load_unet(path, CPU, torch.float32)


def test_a_weight_that_does_not_belong_is_named(base: Path, tmp_path: Path) -> None:
    name = "model.diffusion_model.extra.weight"
    path = altered(base, tmp_path / "x.safetensors", lambda tensors: tensors.update({name: torch.zeros(1)}))
    with pytest.raises(ServiceUnavailable, match=f"do not belong.*{name}"):
        load_unet(path, CPU, torch.float32)


def test_a_weight_of_another_shape_is_named(base: Path, tmp_path: Path) -> None:
    name = "model.diffusion_model.time_embed.0.weight"
    path = altered(base, tmp_path / "x.safetensors", lambda tensors: tensors.update({name: torch.zeros(2, 2)}))
    with pytest.raises(ServiceUnavailable, match=rf"{name} is \[2, 2\]"):
        load_unet(path, CPU, torch.float32)


def test_the_harmless_extras_of_files_in_the_wild_are_taken(base: Path, tmp_path: Path) -> None:
    extras = {
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "conditioner.embedders.1.model.logit_scale": torch.zeros(()),
        "denoiser.sigmas": torch.zeros(1000),
    }
    path = altered(base, tmp_path / "x.safetensors", lambda tensors: tensors.update(extras))
    load_unet(path, CPU, torch.float32)
    load_text_encoders(path, CPU, torch.float32)


def test_a_file_that_is_not_there_or_not_whole_or_something_else_is_named(base: Path, tmp_path: Path) -> None:
    cut, pickle, other = tmp_path / "cut.safetensors", tmp_path / "model.ckpt", tmp_path / "other.safetensors"
    cut.write_bytes(base.read_bytes()[:-1000])
    torch.save({"weight": torch.zeros(1)}, pickle)
    save_file({"weight": torch.zeros(1)}, other)
    for path in (tmp_path / "nowhere.safetensors", cut, pickle, other):
        with pytest.raises(ServiceUnavailable, match=path.name):
            load_unet(str(path), CPU, torch.float32)


def test_a_part_that_is_in_no_file_is_named(tmp_path: Path) -> None:
    whole = architecture()
    bare = Architecture(
        whole.kind, whole.prediction_type, whole.force_zeros_for_empty_prompt, whole.unet, None, None, None
    )
    write_weights(tmp_path / "unet.safetensors", bare, unet=build_parts(whole)["unet"])
    path = str(tmp_path / "unet.safetensors")
    assert load_unet(path, CPU, torch.float32).kind == "base"
    with pytest.raises(ServiceUnavailable, match="VAE"):
        load_vae(path, CPU, torch.float32)
    with pytest.raises(ServiceUnavailable, match="text encoders"):
        load_text_encoders(path, CPU, torch.float32)


KEYS = frozenset({"model.diffusion_model.out.2.weight", "conditioner.embedders.1.model.text_projection"})


@pytest.mark.parametrize(
    ("markers", "prediction_type", "zero_terminal_snr"),
    [((), "epsilon", False), (("v_pred",), "v_prediction", False), (("v_pred", "ztsnr"), "v_prediction", True)],
)
@pytest.mark.parametrize("marker", [torch.zeros(0), torch.zeros(1)], ids=["empty", "of one element"])
def test_the_communitys_markers_are_heeded(
    marker: Tensor, markers: tuple[str, ...], prediction_type: str, zero_terminal_snr: bool, tmp_path: Path
) -> None:
    """Weights of no network by which files without a shape of their own say how they were trained."""
    path = tmp_path / "x.safetensors"
    save_file({key: torch.zeros(1) for key in KEYS} | {name: marker.clone() for name in markers}, path)
    known = WeightsFile(str(path)).architecture
    assert (known.prediction_type, known.zero_terminal_snr) == (prediction_type, zero_terminal_snr)
    assert known.unet == SDXL_BASE.unet


@pytest.mark.parametrize("markers", [{"edm_mean"}, {"edm_vpred.sigma_max"}, {"v_pred", "edm_vpred.sigma_max"}])
def test_a_marker_of_a_training_that_is_not_served_is_refused(markers: set[str]) -> None:
    with pytest.raises(ServiceUnavailable, match=r"marked edm_\S+: such models are not served"):
        read_architecture("f", {}, KEYS | markers)


def test_pure_noise_without_v_prediction_is_refused() -> None:
    with pytest.raises(ServiceUnavailable, match=r"marked ztsnr and not v_pred: .* cannot predict epsilon"):
        read_architecture("f", {}, KEYS | {"ztsnr"})
    stated = json.loads(architecture().to_metadata()["gesso.config"]) | {"zero_terminal_snr": True}
    with pytest.raises(ServiceUnavailable, match=r"f says of its shape .* said to predict epsilon"):
        read_architecture("f", {"gesso.config": json.dumps(stated)}, KEYS)


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_a_checkpoint_says_whether_it_saw_pure_noise(zero_terminal_snr: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    shape = replace(architecture(prediction_type="v_prediction"), zero_terminal_snr=zero_terminal_snr)
    write_weights(path, shape, unet=build_parts(shape)["unet"])
    assert WeightsFile(str(path)).architecture == shape
    assert load_unet(str(path), CPU, torch.float32).zero_terminal_snr == zero_terminal_snr


def test_a_shape_that_says_nothing_of_pure_noise_never_saw_it() -> None:
    stated = json.loads(architecture().to_metadata()["gesso.config"])
    del stated["zero_terminal_snr"]
    assert not read_architecture("f", {"gesso.config": json.dumps(stated)}, KEYS).zero_terminal_snr


def test_a_shape_that_cannot_be_read_is_told_with_its_file(tmp_path: Path) -> None:
    for statement in ("nonsense", "{}"):
        save_file({"weight": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={"gesso.config": statement})
        with pytest.raises(ServiceUnavailable, match=r"x\.safetensors says of its shape"):
            load_unet(str(tmp_path / "x.safetensors"), CPU, torch.float32)


def test_a_folder_is_told_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="is a folder"):
        load_unet(str(tmp_path), CPU, torch.float32)


def test_a_refiners_encoders_are_too_few_for_a_base(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "refiner.safetensors", "refiner")
    encoders = load_text_encoders(str(path), CPU, torch.float32)
    with pytest.raises(ServiceUnavailable, match="lack the first one"):
        encoders.encode(Chunk((), ()), "base")
