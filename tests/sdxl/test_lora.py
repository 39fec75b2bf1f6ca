"""LoRAs change weights as diffusers and PEFT do, in every layout that people have; what is unknown is refused."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import SDXL_BASE
from gesso.sdxl.fitting import require_fit
from gesso.sdxl.folder import Part
from gesso.sdxl.layout import UNET_PREFIX, unet_name
from gesso.sdxl.lora import StrongLora, open_lora
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.weights import open_weights
from tests.tiny import architecture, build_parts, write_tiny, write_tiny_folder

SHAPE = architecture()
LINEARS = (
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "mid_block.attentions.0.proj_in",
    "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q",
)
CONVOLUTIONS = (
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.downsamplers.0.conv",
    "up_blocks.0.upsamplers.0.conv",
    "up_blocks.1.resnets.0.conv_shortcut",
)
EMBEDDINGS = ("mid_block.resnets.0.time_emb_proj", "time_embedding.linear_1", "add_embedding.linear_2", "conv_in")
TEXT = (
    "text_model.encoder.layers.0.self_attn.q_proj",
    "text_model.encoder.layers.1.self_attn.out_proj",  # without one, diffusers does not recognise kohya's layout
    "text_model.encoder.layers.1.mlp.fc2",
)

Factors = dict[str, tuple[Tensor, Tensor]]
"""Module -> (down, up)."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


def bare(part: Part) -> nn.Module:
    with torch.device("meta"):
        if part == "unet":
            return UnetNetwork(SHAPE.unet or {})
        if part == "text_encoder":
            return cast(nn.Module, CLIPTextModel(CLIPTextConfig(**(SHAPE.text_encoder or {}))))
        return cast(nn.Module, CLIPTextModelWithProjection(CLIPTextConfig(**(SHAPE.text_encoder_2 or {}))))


def merged(
    checkpoint: Path, part: Part, *loras: tuple[Path, float], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """The weights of a part as they are loaded with these LoRAs."""
    module = bare(part)
    strong = [StrongLora(open_lora(str(path)), strength) for path, strength in loras]
    open_weights(str(checkpoint)).fill(part, module, dtype, strong)
    return dict(module.state_dict())


def layers(part: Part) -> dict[str, tuple[int, ...]]:
    """The weights' shapes by the modules' names, those of text encoders as every version writes them."""
    found = bare(part).named_modules()
    shapes = {name: tuple(one.weight.shape) for name, one in found if isinstance(one, nn.Linear | nn.Conv2d)}
    return {name if part == "unet" or "projection" in name else full(name): shape for name, shape in shapes.items()}


def full(name: str) -> str:
    return name if name.startswith("text_model.") else f"text_model.{name}"


def drawn(part: Part, names: Iterable[str], rank: int = 2, seed: int = 0) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name in names:
        out, *rest = layers(part)[name]
        down = torch.randn((rank, *rest), generator=generator)
        up = torch.randn((out, rank, *(1 for _ in rest[1:])), generator=generator)
        factors[name] = (down, up)
    return factors


def in_kohyas_way(
    part: Part, factors: Factors, alpha: float | None = None, spell: Callable[[str], str] = lambda name: name
) -> dict[str, Tensor]:
    beginning = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}[part]
    tensors = {}
    for name, (down, up) in factors.items():
        module = beginning + spell(name).replace(".", "_")
        tensors |= {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
        tensors |= {} if alpha is None else {f"{module}.alpha": torch.tensor(alpha)}
    return tensors


def in_diffusers_way(part: Part, factors: Factors, down: str = ".lora_A", up: str = ".lora_B") -> dict[str, Tensor]:
    return {
        f"{part}.{name}{ending}.weight": factor
        for name, both in factors.items()
        for ending, factor in zip((down, up), both, strict=True)
    }


def in_stabilitys_names(name: str) -> str:
    return unet_name(name, SHAPE.unet or {}).removeprefix(UNET_PREFIX)


def written(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> Path:
    header = None if metadata is None else {"lora_adapter_metadata": json.dumps(metadata)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, header)
    return path


def fused(*loras: tuple[Path, float]) -> dict[Part, dict[str, Tensor]]:
    """What diffusers makes of the tiny checkpoint's parts with these LoRAs: read, injected and fused by itself."""
    parts = build_parts(SHAPE)
    loader = StableDiffusionXLLoraLoaderMixin
    names = [f"lora{place}" for place, _ in enumerate(loras)]
    for name, (path, _) in zip(names, loras, strict=True):
        state, alphas, metadata = loader.lora_state_dict(
            str(path), unet_config=parts["unet"].config, return_lora_metadata=True
        )
        told: dict[str, Any] = {"network_alphas": alphas, "adapter_name": name, "metadata": metadata}
        if any(key.startswith("unet.") for key in state):
            loader.load_lora_into_unet(state, unet=parts["unet"], **told)
        for part in ("text_encoder", "text_encoder_2"):
            if any(key.startswith(f"{part}.") for key in state):
                loader.load_lora_into_text_encoder(state, text_encoder=parts[part], prefix=part, **told)
    for part in ("unet", "text_encoder", "text_encoder_2"):
        for layer in parts[part].modules():
            if isinstance(layer, BaseTunerLayer):
                for name, (_, strength) in zip(names, loras, strict=True):
                    if name in layer.scaling:
                        layer.set_scale(name, strength)
                layer.merge(adapter_names=[name for name in names if name in layer.scaling])
    return {
        part: {
            name.replace(".base_layer.", "."): weight
            for name, weight in parts[part].state_dict().items()
            if ".lora_" not in name
        }
        for part in ("unet", "text_encoder", "text_encoder_2")
    }


def require_as_diffusers(checkpoint: Path, changed: Iterable[Part], *loras: tuple[Path, float]) -> None:
    wanted = fused(*loras)
    for part in ("unet", "text_encoder", "text_encoder_2"):
        ours, plain = merged(checkpoint, part, *loras), merged(checkpoint, part)
        assert_close(ours, wanted[part], rtol=0, atol=2e-6)
        assert any(not ours[name].equal(plain[name]) for name in ours) == (part in set(changed)), part


def test_kohyas_layout_with_diffusers_names(checkpoint: Path, tmp_path: Path) -> None:
    factors = drawn("unet", LINEARS + CONVOLUTIONS[:1])
    path = written(tmp_path / "lora.safetensors", in_kohyas_way("unet", factors, alpha=1.5))
    require_as_diffusers(checkpoint, ["unet"], (path, 0.8))


def test_kohyas_layout_with_stabilitys_names(checkpoint: Path, tmp_path: Path) -> None:
    """Of every module, so that the same names lead to the same weights as in a checkpoint's own file."""
    factors = drawn("unet", layers("unet"))
    both = in_kohyas_way("unet", factors, 1.5, in_stabilitys_names), in_kohyas_way("unet", factors, 1.5)
    assert not set(both[0]) & set(both[1])
    dotted = {name.replace("lora_unet_", "diffusion_model."): tensor for name, tensor in both[0].items()}
    ours, again, dots = (
        merged(checkpoint, "unet", (written(tmp_path / f"{place}.safetensors", tensors), 0.7))
        for place, tensors in enumerate((*both, dotted))
    )
    assert_close(ours, again, rtol=0, atol=0)
    assert_close(ours, dots, rtol=0, atol=0)


def test_stabilitys_names_are_read_as_diffusers_reads_them(checkpoint: Path, tmp_path: Path) -> None:
    """Where it can: in attention, of two layers a block."""
    names = [name for name in LINEARS if "transformer_blocks" in name or "proj_in" in name]
    spelled = {name: in_stabilitys_names(name) for name in names}
    assert spelled[LINEARS[0]] == "input_blocks.3.1.transformer_blocks.0.attn2.to_k"
    path = written(
        tmp_path / "a.safetensors", in_kohyas_way("unet", drawn("unet", names), 1.5, lambda name: spelled[name])
    )
    require_as_diffusers(checkpoint, ["unet"], (path, 1.0))


def test_both_text_encoders_in_kohyas_layout(checkpoint: Path, tmp_path: Path) -> None:
    tensors = {
        **in_kohyas_way("text_encoder", drawn("text_encoder", TEXT), alpha=1),
        **in_kohyas_way("text_encoder_2", drawn("text_encoder_2", TEXT, seed=1), alpha=4),
    }
    path = written(tmp_path / "lora.safetensors", tensors)
    require_as_diffusers(checkpoint, ["text_encoder", "text_encoder_2"], (path, 0.6))


def test_the_projection_of_the_second_encoder_is_changed(checkpoint: Path, tmp_path: Path) -> None:
    factors = drawn("text_encoder_2", ["text_projection"])
    path = written(tmp_path / "lora.safetensors", in_kohyas_way("text_encoder_2", factors))
    down, up = factors["text_projection"]
    plain = merged(checkpoint, "text_encoder_2")["text_projection.weight"]
    ours = merged(checkpoint, "text_encoder_2", (path, 0.5))["text_projection.weight"]
    assert_close(ours, plain + 0.5 * (up @ down), rtol=0, atol=1e-6)


@pytest.mark.parametrize("ending", [(".lora_A", ".lora_B"), (".lora.down", ".lora.up")])
def test_diffusers_layout(checkpoint: Path, tmp_path: Path, ending: tuple[str, str]) -> None:
    tensors = in_diffusers_way("unet", drawn("unet", LINEARS), *ending)
    for part in ("text_encoder", "text_encoder_2"):
        said = ending if ending[0] == ".lora_A" else (".lora_linear_layer.down", ".lora_linear_layer.up")
        tensors |= in_diffusers_way(cast(Part, part), drawn(cast(Part, part), TEXT), *said)
    path = written(tmp_path / "lora.safetensors", tensors)
    require_as_diffusers(checkpoint, ["unet", "text_encoder", "text_encoder_2"], (path, -0.4))


def test_convolutions_in_diffusers_layout(checkpoint: Path, tmp_path: Path) -> None:
    factors = drawn("unet", CONVOLUTIONS + EMBEDDINGS, rank=3)
    path = written(tmp_path / "lora.safetensors", in_diffusers_way("unet", factors))
    require_as_diffusers(checkpoint, ["unet"], (path, 0.8))


def test_the_layout_before_peft_names_an_attentions_processor(checkpoint: Path, tmp_path: Path) -> None:
    attention = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"
    modules = {f"{attention}.to_k": "to_k", f"{attention}.to_out.0": "to_out"}
    factors = drawn("unet", modules)
    old = {
        f"unet.{attention}.processor.{modules[name]}_lora.{which}.weight": factor
        for name, both in factors.items()
        for which, factor in zip(("down", "up"), both, strict=True)
    }
    text = drawn("text_encoder", ["text_model.encoder.layers.0.self_attn.out_proj"])
    for down, up in text.values():
        begin = "text_encoder.text_model.encoder.layers.0.self_attn.to_out_lora"
        old |= {f"{begin}.down.weight": down, f"{begin}.up.weight": up}
    path = written(tmp_path / "old.safetensors", old)
    new = {**in_diffusers_way("unet", factors), **in_diffusers_way("text_encoder", text)}
    same = written(tmp_path / "new.safetensors", new)
    for part in ("unet", "text_encoder"):
        ours, again, plain = (
            merged(checkpoint, cast(Part, part), *one) for one in ([(path, 0.5)], [(same, 0.5)], cast(Any, []))
        )
        assert_close(ours, again, rtol=0, atol=0)
        assert any(not ours[name].equal(plain[name]) for name in ours)


def test_what_diffusers_saves_with_its_configuration(checkpoint: Path, tmp_path: Path) -> None:
    """Alphas, also by pattern, are in the header then."""
    unet = build_parts(SHAPE)["unet"]
    config = LoraConfig(r=4, lora_alpha=6, alpha_pattern={"to_k": 3}, target_modules=["to_k", "to_q", "proj_in"])
    unet.add_adapter(config, adapter_name="own")
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(len(name)))
    unet.save_lora_adapter(tmp_path / "bare", adapter_name="own", weight_name="own.safetensors")
    adapter = {f"unet.{key}": value for key, value in unet.peft_config["own"].to_dict().items()}
    adapter["unet.target_modules"] = sorted(adapter["unet.target_modules"])
    layers = {name: weight for name, weight in unet.state_dict().items() if ".lora_" in name}
    state = {f"unet.{name.replace('.own.', '.')}": weight for name, weight in layers.items()}
    whole = written(tmp_path / "whole.safetensors", state, adapter)
    require_as_diffusers(checkpoint, ["unet"], (whole, 0.8))
    first, second = (merged(checkpoint, "unet", (path, 0.8)) for path in (whole, tmp_path / "bare" / "own.safetensors"))
    assert_close(first, second, rtol=0, atol=0)


def test_a_rank_stabilised_lora_is_divided_by_the_root_of_its_rank(checkpoint: Path, tmp_path: Path) -> None:
    tensors = in_diffusers_way("unet", drawn("unet", LINEARS, rank=4))
    stated = {"unet.r": 4, "unet.lora_alpha": 3, "unet.use_rslora": True}
    path = written(tmp_path / "lora.safetensors", tensors, stated)
    plain = written(tmp_path / "plain.safetensors", tensors, {"unet.r": 4, "unet.lora_alpha": 6})
    assert_close(merged(checkpoint, "unet", (path, 1)), merged(checkpoint, "unet", (plain, 1)), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_two_at_once_add_up_each_with_its_strength(checkpoint: Path, tmp_path: Path) -> None:
    first = written(tmp_path / "a.safetensors", in_kohyas_way("unet", drawn("unet", LINEARS), alpha=1))
    tensors = in_diffusers_way("unet", drawn("unet", (*LINEARS[:2], *CONVOLUTIONS), rank=3, seed=1))
    second = written(
        tmp_path / "b.safetensors", tensors | in_diffusers_way("text_encoder", drawn("text_encoder", TEXT))
    )
    require_as_diffusers(checkpoint, ["unet", "text_encoder"], (first, 0.8), (second, -0.3))


def test_what_comes_of_it_is_rounded_once(checkpoint: Path, tmp_path: Path) -> None:
    paths = [
        written(tmp_path / f"{seed}.safetensors", in_diffusers_way("unet", drawn("unet", LINEARS, seed=seed)))
        for seed in range(2)
    ]
    strong = [(path, 0.01) for path in paths]
    exact = merged(checkpoint, "unet", *strong)
    rounded = merged(checkpoint, "unet", *strong, dtype=torch.bfloat16)
    assert all(rounded[name].equal(exact[name].bfloat16()) for name in exact)


def test_a_lora_in_half_precision_is_multiplied_in_float32(checkpoint: Path, tmp_path: Path) -> None:
    tensors = in_diffusers_way("unet", drawn("unet", LINEARS))
    half = {name: tensor.half() for name, tensor in tensors.items()}
    first = written(tmp_path / "half.safetensors", half)
    second = written(tmp_path / "whole.safetensors", {name: tensor.float() for name, tensor in half.items()})
    ours, again = (merged(checkpoint, "unet", (path, 0.8)) for path in (first, second))
    assert_close(ours, again, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_strength_and_no_change_leave_every_bit(checkpoint: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    path = written(tmp_path / "lora.safetensors", in_diffusers_way("unet", drawn("unet", LINEARS)))
    for part, strength in (("unet", 0.0), ("text_encoder", 1.0)):
        plain, same = (merged(checkpoint, cast(Part, part), *loras, dtype=dtype) for loras in ([], [(path, strength)]))
        assert all(plain[name].equal(same[name]) for name in plain)


def test_only_what_a_lora_names_is_changed_and_its_file_stays(checkpoint: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "lora.safetensors", in_diffusers_way("unet", drawn("unet", LINEARS)))
    before = checkpoint.read_bytes(), path.read_bytes()
    plain, ours = merged(checkpoint, "unet"), merged(checkpoint, "unet", (path, 1))
    assert {name for name in plain if not plain[name].equal(ours[name])} == {f"{name}.weight" for name in LINEARS}
    assert (checkpoint.read_bytes(), path.read_bytes()) == before
    assert all(merged(checkpoint, "unet", (path, 1))[name].equal(ours[name]) for name in ours)


def test_a_folder_is_changed_as_a_file_is(checkpoint: Path, tmp_path: Path) -> None:
    tensors = in_kohyas_way("unet", drawn("unet", LINEARS), 1.5, in_stabilitys_names)
    tensors |= in_kohyas_way("text_encoder", drawn("text_encoder", TEXT))
    path = written(tmp_path / "lora.safetensors", tensors)
    folder = write_tiny_folder(tmp_path / "folder")
    for part in ("unet", "text_encoder"):
        of_file, of_folder = (merged(one, cast(Part, part), (path, 0.8)) for one in (checkpoint, folder))
        assert_close(of_file, of_folder, rtol=0, atol=0)


def test_a_convolution_of_one_pixel_is_a_linear(checkpoint: Path, tmp_path: Path) -> None:
    """Some trainers write the one for the other."""
    factors = drawn("unet", ["mid_block.attentions.0.proj_in"])
    as_convolutions = {name: (down[:, :, None, None], up[:, :, None, None]) for name, (down, up) in factors.items()}
    ours, again = (
        merged(checkpoint, "unet", (written(tmp_path / f"{n}.safetensors", in_kohyas_way("unet", one)), 1))
        for n, one in enumerate((factors, as_convolutions))
    )
    assert_close(ours, again, rtol=0, atol=0)


A = "lora_unet_mid_block_attentions_0_proj_in"
PAIR = {f"{A}.lora_down.weight": torch.ones(2, 32), f"{A}.lora_up.weight": torch.ones(32, 2)}
REFUSED: list[tuple[dict[str, Tensor], str]] = [
    ({"a.weight": torch.ones(1)}, "is no LoRA"),
    ({f"{A}.hada_w1_a": torch.ones(2, 2)}, r"holds LoHa \(lora_unet_mid.*\): such changes are not served yet"),
    ({f"{A}.lokr_w1": torch.ones(2, 2)}, "holds LoKr"),
    ({f"{A}.oft_blocks": torch.ones(2, 2)}, "holds OFT"),
    ({f"{A}.on_input": torch.ones(1)}, r"holds \(IA\)3"),
    (PAIR | {f"{A}.dora_scale": torch.ones(32)}, "holds DoRA"),
    ({"unet.conv_in.lora_magnitude_vector": torch.ones(1)}, "holds DoRA"),
    (PAIR | {f"{A}.lora_mid.weight": torch.ones(2, 2, 3, 3)}, "holds a Tucker decomposition"),
    (PAIR | {"lora_unet_conv_in.diff": torch.ones(1)}, "holds whole differences of weights"),
    ({"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(1)}, "for Stable Diffusion 1 or 2, not"),
    ({"lora_unet_double_blocks_0_img_mod_lin.lora_up.weight": torch.ones(1)}, "is a LoRA for Flux, not for SDXL"),
    ({"transformer.single_transformer_blocks.0.lora_A.weight": torch.ones(1)}, "for a diffusion transformer"),
    ({"lora_unet_joint_blocks_0.lora_up.weight": torch.ones(1)}, "for Stable Diffusion 3"),
    (PAIR | {"bundle_emb.dog.clip_l": torch.ones(1)}, "holds bundle_emb.dog.clip_l, which is nothing that a LoRA"),
    (PAIR | {f"{A}.lora_up.bias": torch.ones(32)}, rf"holds {A}.lora_up.bias, which is nothing"),
    ({f"{A}.lora_down.weight": torch.ones(2, 32)}, f"has a change without its `up`: {A}.lora_down.weight stands alone"),
    ({f"{A}.alpha": torch.ones(())}, "has a change without its `up`"),
    (PAIR | {f"{A}.lora_up.weight": torch.ones(32, 3)}, r"is \[32, 3\] and .* \[2, 32\]: they have no product"),
    (PAIR | {f"{A}.lora_up.weight": torch.ones(32, 2, 3, 3)}, "they have no product"),
    (PAIR | {f"{A}.lora_A.weight": torch.ones(2, 32)}, "holds .* twice"),
    (PAIR | {f"{A}.alpha": torch.ones(2)}, r"alpha is \[2\], not one number"),
    (PAIR | {f"{A}.alpha": torch.tensor(torch.nan)}, "has the alpha nan"),
]


@pytest.mark.parametrize(("tensors", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_what_is_not_understood_is_refused_by_name(tmp_path: Path, tensors: dict[str, Tensor], said: str) -> None:
    path = written(tmp_path / "lora.safetensors", tensors)
    with pytest.raises(ServiceUnavailable, match=said) as refused:
        open_lora(str(path))
    assert str(path) in refused.value.sentence


UNFIT: list[tuple[dict[str, Tensor], str]] = [
    (
        PAIR
        | {
            "lora_unet_nowhere.lora_down.weight": torch.ones(1, 1),
            "lora_unet_nowhere.lora_up.weight": torch.ones(1, 1),
        },
        "of its changes of the UNet, 1 have no place there, first lora_unet_nowhere.lora_down.weight",
    ),
    (
        PAIR | {f"{A}.lora_up.weight": torch.ones(30, 2)},
        r"change a weight of \[30, 32\], mid_.*proj_in.weight is \[32, 32\]",
    ),
    (
        PAIR
        | {
            "lora_unet_middle_block_1_proj_in.lora_down.weight": torch.ones(2, 32),
            "lora_unet_middle_block_1_proj_in.lora_up.weight": torch.ones(32, 2),
        },
        "changes mid_block.attentions.0.proj_in.weight twice: as lora_unet_mid_.* and lora_unet_middle_block_1",
    ),
]


@pytest.mark.parametrize(("tensors", "said"), UNFIT, ids=[said[:40] for _, said in UNFIT])
def test_what_does_not_fit_is_refused_by_name(
    checkpoint: Path, tmp_path: Path, tensors: dict[str, Tensor], said: str
) -> None:
    path = written(tmp_path / "lora.safetensors", tensors)
    with pytest.raises(ServiceUnavailable, match=said) as refused:
        merged(checkpoint, "unet", (path, 1))
    assert str(path) in refused.value.sentence
    with pytest.raises(ServiceUnavailable, match=said):
        require_fit(open_lora(str(path)), SHAPE)


def test_a_lora_fits_the_family_that_it_was_made_for(tmp_path: Path) -> None:
    tensors = in_diffusers_way("unet", drawn("unet", LINEARS))
    for part in ("text_encoder", "text_encoder_2"):
        tensors |= in_diffusers_way(cast(Part, part), drawn(cast(Part, part), TEXT))
    ours = open_lora(str(written(tmp_path / "tiny.safetensors", tensors)))
    require_fit(ours, SHAPE)
    with pytest.raises(ServiceUnavailable, match="does not fit"):
        require_fit(ours, SDXL_BASE)


def test_a_lora_for_sdxl_fits_it_under_stabilitys_names(tmp_path: Path) -> None:
    """Names as trainers write them, checked by hand against a published file's."""
    inner = "transformer_blocks_1_attn2_to_k"
    shapes = {
        f"lora_unet_input_blocks_4_1_{inner}": (640, 2048),
        f"lora_unet_output_blocks_2_1_{inner}": (1280, 2048),
        f"lora_unet_middle_block_1_{inner}": (1280, 2048),
        "lora_unet_input_blocks_8_1_transformer_blocks_9_ff_net_0_proj": (10240, 1280),
        "lora_te1_text_model_encoder_layers_11_self_attn_q_proj": (768, 768),
        "lora_te2_text_model_encoder_layers_31_mlp_fc1": (5120, 1280),
    }
    tensors = {}
    for name, (out, into) in shapes.items():
        tensors |= {f"{name}.lora_down.weight": torch.ones(1, into), f"{name}.lora_up.weight": torch.ones(out, 1)}
    require_fit(open_lora(str(written(tmp_path / "lora.safetensors", tensors))), SDXL_BASE)


def test_files_that_are_none_are_refused_with_what_they_are(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "cut.safetensors").write_bytes(checkpoint.read_bytes()[:-10])
    for name, said in (
        ("nowhere.safetensors", "is not there"),
        ("a.pt", "is a pickle"),
        ("cut.safetensors", "is not a whole safetensors file"),
        (checkpoint, "is no LoRA"),
    ):
        with pytest.raises(ServiceUnavailable, match=said):
            open_lora(str(tmp_path / name))
    path = written(tmp_path / "odd.safetensors", PAIR)
    save_file(PAIR, path, {"lora_adapter_metadata": "nonsense"})
    with pytest.raises(ServiceUnavailable, match="lora_adapter_metadata cannot be read"):
        open_lora(str(path))
