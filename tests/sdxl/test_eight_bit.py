"""Products in 8 bits: of which layers, how near they are, and that all else is as it is in bfloat16."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gesso.errors import SettingsError
from gesso.sdxl import eight_bit
from gesso.sdxl.architecture import SDXL_BASE, SDXL_REFINER
from gesso.sdxl.bare import bare_unet
from gesso.sdxl.blocks import TransformerBlock
from gesso.sdxl.checkpoint import copied, load_unet
from gesso.sdxl.eight_bit import EIGHT_BITS, TokenLinear, linear, require_eight_bits
from gesso.sdxl.lora import StrongLora, open_lora
from gesso.sdxl.operations import LARGEST, in_eight_bits, multiply
from gesso.sdxl.precision import FP8, Precision
from gesso.sdxl.streaming import staying_share, streamed
from gesso.sdxl.text import Conditioning
from gesso.sdxl.unet import Unet
from gesso.sdxl.weights import open_weights
from tests.sdxl.test_network import DEEP
from tests.tiny import architecture, write_tiny, write_tiny_lora

CPU = torch.device("cpu")
EMBEDDED = Path(__file__).parents[2] / "gesso" / "mini" / "weights" / "base.safetensors"
INSIDE = (
    r"(down_blocks\.\d\.attentions\.\d|mid_block\.attentions\.0|up_blocks\.\d\.attentions\.\d)\.transformer_blocks\.\d"
)
LAYERS = (
    r"attn1\.to_q|attn1\.to_k|attn1\.to_v|attn1\.to_out\.0|attn2\.to_q|attn2\.to_out\.0|ff\.net\.0\.proj|ff\.net\.2"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("checkpoint") / "base.safetensors")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def predicted(unet: Unet, side: int = 8) -> Tensor:
    network = unet.network
    context = next(one for one in network.modules() if isinstance(one, TransformerBlock)).attn2.to_k.in_features
    sizes = unet.size_ids(512, 512, negative=False)
    pooled = network.add_embedding.linear_1.in_features - len(sizes) * network._size_frequencies
    told = [Conditioning(drawn(77, context, seed=row), drawn(pooled, seed=row)) for row in range(2)]
    latents = drawn(2, network.conv_in.in_channels, side, side)
    return unet.predict(latents, unet.tell(torch.tensor([500.0, 20.0]), told, sizes))


@pytest.mark.parametrize(
    ("config", "blocks"),
    [(SDXL_BASE.unet, 70), (SDXL_REFINER.unet, 44), (architecture().unet, 4)],
    ids=["base", "refiner", "tiny"],
)
def test_what_a_transformers_blocks_multiply_with_is_of_8_bits_and_nothing_else(
    config: Mapping[str, Any], blocks: int
) -> None:
    network = bare_unet(config, FP8)
    types = {name: weight.dtype for name, weight in network.named_parameters()}
    weights = {name for name, dtype in types.items() if dtype == EIGHT_BITS}
    scales = {name for name, dtype in types.items() if dtype == torch.float32}
    assert weights == {name for name in types if re.fullmatch(rf"({INSIDE})\.({LAYERS})\.weight", name)}
    assert len(weights) == 8 * blocks
    assert scales == {f"{name.removesuffix('weight')}scale" for name in weights}
    assert {types[name] for name in types.keys() - weights - scales} == {torch.bfloat16}


@torch.no_grad()
def test_widths_that_no_gpu_multiplies_keep_the_numbers_of_everything_else() -> None:
    """Of the levels that attend one is 16 wide and one 24."""
    network = bare_unet(DEEP, FP8)
    eight_bit_ones = {name for name, weight in network.named_parameters() if weight.dtype == EIGHT_BITS}
    suitable = {
        f"{name}.weight"
        for name, layer in network.named_modules()
        if isinstance(layer, TokenLinear) and layer.in_features % 16 == layer.out_features % 16 == 0
    }
    assert eight_bit_ones == suitable
    assert {name.partition(".attentions")[0] for name in suitable} == {"down_blocks.1", "up_blocks.1"}


def test_a_row_is_rounded_to_8_bits_of_its_own_largest_number() -> None:
    rows = drawn(5, 48) * torch.tensor([1.0, 1000.0, 1e-4, 0.0, 1.0])[:, None]
    rounded, scales = in_eight_bits(rows)
    assert rounded.dtype == EIGHT_BITS
    assert torch.equal(rounded.float().abs().amax(dim=1), torch.tensor([LARGEST, LARGEST, LARGEST, 0.0, LARGEST]))
    off = (rounded.float() * scales - rows).abs()
    assert (off <= torch.maximum(rows.abs() * 2**-4, scales * 2**-10) * 1.001).all()


def test_a_row_that_is_broken_breaks_no_other() -> None:
    tokens, (weight, scale) = drawn(4, 32).bfloat16(), in_eight_bits(drawn(16, 32))
    tokens[1, 3], tokens[2, 5] = torch.nan, torch.inf
    made = linear(tokens, weight, scale.flatten())
    assert made.isfinite().all(dim=1).tolist() == [True, False, False, True]


def test_a_tokens_numbers_depend_on_itself_alone() -> None:
    """At equal numbers of rows; what other numbers round to is `Agreement`'s business."""
    tokens, (weight, scale) = drawn(2, 64, 96).bfloat16(), in_eight_bits(drawn(64, 96))
    made = linear(tokens, weight, scale.flatten())
    others = torch.stack([100 * drawn(64, 96, seed=1).bfloat16(), tokens[0]])
    assert torch.equal(linear(others, weight, scale.flatten())[1], made[0])
    rounded, scales = in_eight_bits(tokens.flatten(0, 1))
    for row in (0, 77):
        alone = in_eight_bits(tokens.flatten(0, 1)[row : row + 1])
        assert torch.equal(alone[0].float(), rounded[row : row + 1].float())
        assert torch.equal(alone[1], scales[row : row + 1])


def test_a_product_is_what_torch_makes_of_the_same_numbers() -> None:
    (rows, scales), (weight, scale), bias = in_eight_bits(drawn(40, 96)), in_eight_bits(drawn(64, 96)), drawn(64)
    try:
        theirs = torch._scaled_mm(
            rows, weight.t(), scales, scale.t(), bias.bfloat16(), out_dtype=torch.bfloat16, use_fast_accum=True
        )
    except RuntimeError:
        pytest.skip("this version of torch knows no scales of rows on this device")
    ours = multiply(rows, scales, weight, scale.flatten(), bias.bfloat16())
    torch.testing.assert_close(ours, theirs, rtol=2**-7, atol=1e-2)
    exact = functional.linear(rows.double() * scales, weight.double() * scale, bias.bfloat16().double())
    torch.testing.assert_close(ours.double(), exact, rtol=2**-8, atol=1e-4)


def test_a_trained_unet_predicts_nearly_what_it_does_in_bfloat16() -> None:
    """Measured: off by 1.0 % of the prediction, where bfloat16 itself is by 0.7 % of float32's."""
    ours, expected = (predicted(load_unet(str(EMBEDDED), CPU, one), side=32) for one in (FP8, torch.bfloat16))
    assert not torch.equal(ours, expected)
    assert (ours - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("kind", ["base", "refiner"])
def test_the_bytes_that_are_counted_beforehand_are_those_that_come(kind: Any, tmp_path: Path) -> None:
    noted: list[int] = []
    for path in (write_tiny(tmp_path / "tiny.safetensors", kind), EMBEDDED.with_name(f"{kind}.safetensors")):
        noted.clear()
        network = load_unet(str(path), CPU, FP8, (), noted.append).network
        there = sum(weight.nbytes for weight in (*network.parameters(), *network.buffers()))
        sizes, whole = (open_weights(str(path)).sizes(one) for one in (FP8, torch.bfloat16))
        assert sizes["unet"] == sum(noted) == there < whole["unet"]
        assert {**sizes, "unet": 0} == {**whole, "unet": 0}


def test_of_sdxls_unet_a_third_less_has_to_be_kept() -> None:
    assert SDXL_BASE.unet is not None
    whole, ours = (_bytes(SDXL_BASE.unet, one) for one in (Precision(torch.bfloat16), FP8))
    assert 0.6 < ours / whole < 0.7


def _bytes(config: Mapping[str, Any], precision: Precision) -> int:
    return sum(weight.nbytes for weight in bare_unet(config, precision).parameters())


def test_loras_are_added_before_weights_are_rounded(tiny: Path, tmp_path: Path) -> None:
    lora = StrongLora(open_lora(str(write_tiny_lora(tmp_path / "lora.safetensors"))), 0.7)
    plain, changed = (load_unet(str(tiny), CPU, FP8, loras).network.state_dict() for loras in ([], [lora]))
    exact = load_unet(str(tiny), CPU, torch.float32, [lora]).network.state_dict()
    for name, weight in exact.items():
        if changed[name].dtype == EIGHT_BITS:
            rounded, scale = in_eight_bits(weight)
            assert torch.equal(changed[name].float(), rounded.float())
            assert torch.equal(changed[eight_bit.scale_name(name)], scale.flatten())
    assert any(not torch.equal(plain[name].float(), changed[name].float()) for name in plain if "attn1.to_q" in name)


def test_what_was_joined_stays_known_by_name(tiny: Path) -> None:
    unet = load_unet(str(tiny), CPU, FP8)
    before = {name: tensor.float() for name, tensor in unet.network.state_dict().items()}
    expected = predicted(unet)
    after = unet.network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name].float(), tensor) for name, tensor in before.items())
    block = next(one for one in unet.network.modules() if isinstance(one, TransformerBlock))
    for name in ("weight", "scale"):
        storages = {
            getattr(one, name).untyped_storage().data_ptr()
            for one in (block.attn1.to_q, block.attn1.to_k, block.attn1.to_v)
        }
        assert len(storages) == 1
    assert torch.equal(predicted(unet), expected)


@pytest.mark.parametrize("move", [lambda unet: streamed(unet, CPU), lambda unet: copied(unet, CPU)])
def test_streamed_or_copied_it_predicts_the_same_bits(tiny: Path, move: Callable[[Unet], Unet]) -> None:
    unet = load_unet(str(tiny), CPU, FP8)
    elsewhere = move(unet)
    for _ in range(2):
        assert torch.equal(predicted(elsewhere), predicted(unet))


def test_the_share_that_stays_while_the_rest_is_streamed_is_of_bytes(tiny: Path) -> None:
    config = architecture().unet
    network = bare_unet(config or {}, FP8)
    staying = ("time_emb_proj.", "attn2.to_k.", "attn2.to_v.")
    visiting = [
        weight.nbytes
        for name, weight in network.named_parameters()
        if re.search(r"\.(resnets|transformer_blocks)\.", name) and not any(part in name for part in staying)
    ]
    assert staying_share(config or {}, FP8) == pytest.approx(1 - sum(visiting) / _bytes(config or {}, FP8))


def test_a_cpu_multiplies_in_8_bits() -> None:
    require_eight_bits(CPU)


@pytest.mark.parametrize(
    ("device", "capability", "said"),
    [
        ("mps", None, "the device mps has no products of 8-bit floats"),
        ("cuda", (7, 5), "need compute capability 8.9, and Tesla T4 has 7.5"),
        ("cuda", (8, 6), "need compute capability 8.9, and Tesla T4 has 8.6"),
        ("cuda", (12, 0), r"Tesla T4 does not make products of 8-bit floats \(not on your device\)"),
    ],
)
def test_a_device_that_does_not_is_refused_with_what_would_be_right(
    device: str, capability: tuple[int, int] | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: torch.device) -> None:
        raise RuntimeError("not on your device\nat some line")

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(eight_bit, "_try", fail)
    with pytest.raises(SettingsError, match=rf"setting precision = 'fp8': .*{said}; take bfloat16, or auto"):
        require_eight_bits(torch.device(device))


@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (10, 0)])
def test_gpus_from_ada_on_are_tried_out(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(eight_bit, "_try", tried.append)
    require_eight_bits(torch.device("cuda:1"))
    assert tried == [torch.device("cuda:1")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="whether a GPU does what a CPU does shows on a GPU only")
def test_a_gpu_makes_the_products_that_a_cpu_makes() -> None:
    device = torch.device("cuda")
    require_eight_bits(device)
    tokens, (weight, scale), bias = drawn(2, 100, 640).bfloat16(), in_eight_bits(drawn(1280, 640)), drawn(1280)
    here = linear(tokens, weight, scale.flatten(), bias.bfloat16())
    there = linear(*(one.to(device) for one in (tokens, weight, scale.flatten(), bias.bfloat16())))
    assert (there.cpu().float() - here.float()).norm() < 0.01 * here.float().norm()
