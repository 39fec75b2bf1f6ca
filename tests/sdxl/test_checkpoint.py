"""Checkpoints are read strictly, and what is wrong with one is said by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gesso.errors import ServiceUnavailable
from gesso.prompt.chunks import Chunk
from gesso.sdxl.architecture import Architecture, PredictionType
from gesso.sdxl.checkpoint import load_text_encoders, load_unet, load_vae
from gesso.sdxl.weights import open_weights
from gesso.sdxl.writing import write_weights
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
        "model_ema.diffusion_modelout2weight": torch.zeros(1),
        "model_ema.decay": torch.zeros(()),
        "first_stage_model.loss.logvar": torch.zeros(()),
        "alphas_cumprod": torch.zeros(1000),
        "betas": torch.zeros(1000),
    }
    path = altered(base, tmp_path / "x.safetensors", lambda tensors: tensors.update(extras))
    load_unet(path, CPU, torch.float32)
    load_vae(path, CPU, torch.float32)
    load_text_encoders(path, CPU, torch.float32)


def test_what_belongs_to_no_part_is_named(base: Path, tmp_path: Path) -> None:
    path = altered(base, tmp_path / "x.safetensors", lambda tensors: tensors.update({"stranger": torch.zeros(1)}))
    for load in (load_unet, load_vae, load_text_encoders):
        with pytest.raises(ServiceUnavailable, match="1 weights that do not belong there, first stranger"):
            load(path, CPU, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_file_may_be_of_any_precision(dtype: torch.dtype, base: Path, tmp_path: Path) -> None:
    def convert(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    loaded = load_unet(altered(base, tmp_path / "x.safetensors", convert), CPU, torch.float32).network.state_dict()
    written = build_parts(architecture())["unet"].state_dict()
    assert all(torch.equal(loaded[name], weight.to(dtype).float()) for name, weight in written.items())


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "model.safetensors"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_is_refused_whatever_it_is_called_and_never_read(name: str, zipped: bool, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ServiceUnavailable, match=f"{name} is a pickle, which runs whatever code"):
        load_unet(str(tmp_path / name), CPU, torch.float32)


def vae_alone(path: Path, rename: Callable[[str], str | None], base: Path) -> str:
    """A file of nothing but the VAE of `base`, under other names."""
    tensors = {rename(name): tensor for name, tensor in load_file(base).items()}
    shape = Architecture("vae", "epsilon", False, None, architecture().vae, None, None)
    save_file({name: tensor for name, tensor in tensors.items() if name}, path, metadata=shape.to_metadata())
    return str(path)


def test_a_vae_alone_lends_itself_under_any_of_its_names(base: Path, tmp_path: Path) -> None:
    expected = build_parts(architecture())["vae"]

    def stabilitys(name: str) -> str | None:
        return name if name.startswith("first_stage_model.") else None

    def bare(name: str) -> str | None:
        return name.removeprefix("first_stage_model.") if name.startswith("first_stage_model.") else None

    paths = [vae_alone(tmp_path / f"{one.__name__}.safetensors", one, base) for one in (stabilitys, bare)]
    shape = Architecture("vae", "epsilon", False, None, architecture().vae, None, None)
    save_file(expected.state_dict(), tmp_path / "diffusers.safetensors", metadata=shape.to_metadata())
    for path in (*paths, str(tmp_path / "diffusers.safetensors")):
        assert equal(load_vae(path, CPU, torch.float32).network, expected)
        with pytest.raises(ServiceUnavailable, match="a VAE alone, which paints nothing"):
            load_unet(path, CPU, torch.float32)
        with pytest.raises(ServiceUnavailable, match="no text encoders in it"):
            load_text_encoders(path, CPU, torch.float32)


def test_a_file_that_is_not_there_or_not_whole_or_something_else_is_named(base: Path, tmp_path: Path) -> None:
    cut, other = tmp_path / "cut.safetensors", tmp_path / "other.safetensors"
    cut.write_bytes(base.read_bytes()[:-1000])
    save_file({"weight": torch.zeros(1)}, other)
    for path in (tmp_path / "nowhere.safetensors", cut, other):
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


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_a_checkpoint_says_whether_it_saw_pure_noise(zero_terminal_snr: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    shape = replace(architecture(prediction_type="v_prediction"), zero_terminal_snr=zero_terminal_snr)
    write_weights(path, shape, unet=build_parts(shape)["unet"])
    assert open_weights(str(path)).architecture == shape
    assert load_unet(str(path), CPU, torch.float32).zero_terminal_snr == zero_terminal_snr


def test_a_shape_that_cannot_be_read_is_told_with_its_file(tmp_path: Path) -> None:
    for statement in ("nonsense", "{}"):
        save_file({"weight": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={"gesso.config": statement})
        with pytest.raises(ServiceUnavailable, match=r"x\.safetensors says of its shape"):
            load_unet(str(tmp_path / "x.safetensors"), CPU, torch.float32)


def test_a_refiners_encoders_are_too_few_for_a_base(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "refiner.safetensors", "refiner")
    encoders = load_text_encoders(str(path), CPU, torch.float32)
    with pytest.raises(ServiceUnavailable, match="lack the first one"):
        encoders.encode(Chunk((), ()), "base")
