"""A VAE in strips: the same pictures and latents, with one strip of one layer at a time."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gesso.sdxl import strips
from gesso.sdxl.vae import Vae
from gesso.sdxl.vae_network import VaeNetwork
from tests.tiny import SHALLOW


@pytest.fixture(scope="module")
def network() -> VaeNetwork:
    torch.manual_seed(0)
    return VaeNetwork(SHALLOW).eval().requires_grad_(False)


@pytest.mark.parametrize(("rows", "height", "width"), [(1, 4, 6), (5, 4, 4), (7, 3, 6), (64, 9, 5)])
def test_the_same_is_computed_however_a_picture_is_cut(
    rows: int, height: int, width: int, network: VaeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "ROWS", rows)
    latents = torch.randn(1, network.latent_channels, height, width)
    expected = network(latents)
    assert (strips.decode(network, latents) - expected).abs().max() <= 1e-5 * expected.abs().max()
    pictures = torch.rand(1, 3, height * network.factor, width * network.factor) * 2 - 1
    for ours, whole in zip(strips.encode(network, pictures), network.encode(pictures), strict=True):
        assert (ours - whole).abs().max() <= 1e-5 * whole.abs().max()


class Convolved(TorchDispatchMode):
    """Notes how many numbers go into each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "convolution" in str(func):
            self.sizes.append(args[0].numel())
        return func(*args, **(kwargs or {}))


def test_what_is_there_at_a_time_does_not_grow_with_the_picture(
    network: VaeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "ROWS", 4)
    largest = []
    for height in (16, 32):
        with Convolved() as convolved:
            strips.decode(network, torch.randn(1, network.latent_channels, height, 4))
        fine = [size for size in convolved.sizes if size > 24 * height * 4]  # but for the latent's own resolution
        largest.append(max(fine))
    assert largest[0] == largest[1] == 16 * 6 * (4 * network.factor + 2), "six rows of the finest level's widest layer"


def test_a_picture_too_large_for_the_room_goes_in_strips_and_its_size_alone_decides(
    network: VaeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 64 * 64 * strips.bytes_of_a_pixel(network.widths, torch.float32)
    assert needed == 64 * 64 * (8 + 2 * 16) * 4
    taken: list[str] = []

    def noting(name: str) -> None:
        real = getattr(strips, name)
        monkeypatch.setattr(strips, name, lambda *arguments: taken.append(name) or real(*arguments))

    for name in ("decode", "encode"):
        noting(name)
    latent, picture = torch.randn(4, 8, 8), bytes(itertools.islice(itertools.cycle(range(251)), 64 * 64 * 3))
    rooms = {room: Vae(network, room) for room in (None, needed, needed - 1)}
    painted = {room: vae.decode(latent, 64, 64) for room, vae in rooms.items()}
    means = {room: vae.encode(picture, 64, 64).mean for room, vae in rooms.items()}
    assert taken == ["decode", "encode"]
    assert painted[None] == painted[needed]
    assert _furthest(painted[None], painted[needed - 1]) <= 1
    assert torch.allclose(means[None], means[needed - 1], atol=1e-5)


def _furthest(one: bytes, other: bytes) -> int:
    def numbers(pixels: bytes) -> Tensor:
        return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).int()

    return int((numbers(one) - numbers(other)).abs().max())


def test_bfloat16_in_strips_is_as_near_to_float32_as_it_is_whole(network: VaeNetwork) -> None:
    latent = torch.randn(4, 8, 8)
    exact = Vae(network).decode(latent, 64, 64)
    half = VaeNetwork(SHALLOW)
    half.load_state_dict(network.state_dict())
    half = half.eval().requires_grad_(False).to(torch.bfloat16)
    whole, cut = (_furthest(Vae(half, room).decode(latent, 64, 64), exact) for room in (None, 1))
    assert cut <= whole + 1
