"""Our kernels compute what torch's operations do. Without a GPU they run in Triton's interpreter, in float32."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

ON_GPU = torch.cuda.is_available()
kernels = pytest.importorskip("gesso.sdxl.kernels", reason="Triton has no build for this machine")

DEVICE = torch.device("cuda" if ON_GPU else "cpu")
DTYPES = (torch.float32, torch.bfloat16) if ON_GPU else (torch.float32,)
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 1e-2}
"""Of the largest number: a GPU's float32 sums in another order, and bfloat16 has eight bits."""

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")  # sigmoid, far out


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)
    return numbers.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else numbers


def settled(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`module` with weights drawn from a seed."""
    generator = torch.Generator().manual_seed(1)
    for weight in module.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
    return module.requires_grad_(False).to(DEVICE, dtype)


def assert_close(ours: Tensor, exact: Tensor) -> None:
    assert ours.shape == exact.shape
    assert (ours.double() - exact).abs().max() <= TOLERANCE[ours.dtype] * exact.abs().max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "out_channels"), [(4, 32), (64, 160), (96, 4), (40, 72)])
def test_a_convolution(channels: int, out_channels: int, stride: int, dtype: torch.dtype) -> None:
    conv = settled(nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1), dtype)
    source = drawn(3, channels, 9, 7, dtype=dtype)
    exact = functional.conv2d(source.double(), conv.weight.double(), conv.bias.double(), stride, 1)
    assert_close(kernels.convolve(source, conv), exact)
    shift, added = drawn(3, out_channels, dtype=dtype, seed=2), drawn(*exact.shape, dtype=dtype, seed=3)
    told = exact + shift.double()[:, :, None, None] + added.double()
    assert_close(kernels.convolve(source, conv, shift=shift, added=added), told)


def test_a_convolution_takes_its_shift_out_of_a_wider_one() -> None:
    conv = settled(nn.Conv2d(32, 32, 3, padding=1), torch.float32)
    source, wide = drawn(2, 32, 5, 5), drawn(2, 80)
    expected = kernels.convolve(source, conv) + wide[:, 16:48, None, None]
    assert (kernels.convolve(source, conv, shift=wide[:, 16:48]) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize(("channels", "groups", "height", "width"), [(64, 32, 13, 17), (40, 8, 3, 3), (960, 32, 8, 9)])
def test_a_group_norm(channels: int, groups: int, height: int, width: int, silu: bool, dtype: torch.dtype) -> None:
    norm = settled(nn.GroupNorm(groups, channels), dtype)
    source = drawn(2, channels, height, width, dtype=dtype)
    exact = functional.group_norm(source.double(), groups, norm.weight.double(), norm.bias.double(), norm.eps)
    assert_close(kernels.group_norm(source, norm, silu), functional.silu(exact) if silu else exact)


def test_a_group_norm_keeps_what_is_small_beside_its_mean() -> None:
    norm = settled(nn.GroupNorm(2, 64), torch.float32)
    source = drawn(1, 64, 40, 40) * 0.01 + 100
    exact = functional.group_norm(source.double(), 2, norm.weight.double(), norm.bias.double(), norm.eps)
    assert (kernels.group_norm(source, norm, silu=False) - exact).abs().max() < 5e-3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [48, 640])
def test_a_layer_norm_of_a_sum(width: int, dtype: torch.dtype) -> None:
    norm = settled(nn.LayerNorm(width), dtype)
    tokens, added = drawn(2, 5, width, dtype=dtype), drawn(2, 5, width, dtype=dtype, seed=2)
    summed, normal = kernels.layer_norm(tokens, added, norm)
    assert torch.equal(summed, tokens + added)
    weights = norm.weight.double(), norm.bias.double()
    assert_close(normal, functional.layer_norm(summed.double(), (width,), *weights, norm.eps))
    alone, normal = kernels.layer_norm(tokens, None, norm)
    assert alone is tokens
    assert_close(normal, functional.layer_norm(tokens.double(), (width,), *weights, norm.eps))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [24, 1500])
def test_a_gate(width: int, dtype: torch.dtype) -> None:
    source = drawn(3, 5, 2 * width, dtype=dtype)
    value, gate = source.double().chunk(2, dim=-1)
    assert_close(kernels.gated(source), value * functional.gelu(gate))


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy, of the broken rows
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [48, 640])
def test_rows_in_eight_bits(width: int, dtype: torch.dtype) -> None:
    rows = drawn(6, width, dtype=dtype) * torch.tensor([[1.0], [1e4], [1e-5], [0.0], [1.0], [1.0]]).to(DEVICE, dtype)
    rows[4, 3], rows[5, 7] = torch.nan, torch.inf
    ours, scales = kernels.in_eight_bits(rows, 448.0, 1e-12)
    theirs = torch.where(rows.isfinite(), rows, 0).abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / 448
    assert (ours.dtype, ours.shape, scales.shape) == (torch.float8_e4m3fn, rows.shape, (6, 1))
    assert torch.allclose(scales[:4], theirs[:4], rtol=1e-6)
    exact, made = rows[:4].double(), ours[:4].double() * scales[:4].double()
    right = (made - exact).abs() <= torch.maximum(exact.abs() * 2**-4, scales[:4] * 2.0**-10) * 1.001
    # Triton's interpreter loses the carry where a number is rounded up to a power of two.
    rounded_up = torch.frexp((exact / scales[:4]).to(torch.float8_e4m3fn).float()).mantissa.abs() == 0.5
    assert (right if ON_GPU else right | rounded_up).all()
    assert (ours[:3].float().abs().amax(dim=1) == 448).all()
    assert not (ours[4:].float() * scales[4:]).isfinite().any(dim=1).any()


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="whether sums depend on company shows on a GPU only")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_in_any_company_at_any_place(dtype: torch.dtype) -> None:
    conv, norm = settled(nn.Conv2d(320, 640, 3, padding=1), dtype), settled(nn.GroupNorm(32, 320), dtype)
    source = drawn(16, 320, 32, 32, dtype=dtype)

    def made(rows: Tensor) -> Tensor:
        return kernels.convolve(kernels.group_norm(source[rows], norm, silu=True), conv)

    every = torch.arange(16)
    each = torch.cat([made(row[None]) for row in every])
    for count in range(2, 17):
        assert torch.equal(made(every[:count]), each[:count]), count
    assert torch.equal(made(every.flip(0)), each.flip(0))


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="takes too many programs for an interpreter")
def test_a_group_norm_of_the_largest_picture() -> None:
    norm = settled(nn.GroupNorm(8, 32), torch.bfloat16)
    source = drawn(1, 32, 2048, 2048, dtype=torch.bfloat16)
    exact = functional.group_norm(source.double(), 8, norm.weight.double(), norm.bias.double(), norm.eps)
    assert_close(kernels.group_norm(source, norm, silu=False), exact)
