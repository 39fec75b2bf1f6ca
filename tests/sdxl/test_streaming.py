"""A UNet whose blocks' weights come and go predicts what it does with all of them there."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gesso.sdxl.architecture import SDXL_BASE
from gesso.sdxl.blocks import ResnetBlock, TransformerBlock
from gesso.sdxl.checkpoint import load_unet
from gesso.sdxl.precision import FP8, Precision
from gesso.sdxl.streaming import staying_share, streamed
from gesso.sdxl.text import Conditioning
from gesso.sdxl.unet import Unet
from tests.tiny import CHANNELS, write_tiny

CPU = torch.device("cpu")


@pytest.fixture
def unet(tmp_path: Path) -> Unet:
    return load_unet(str(write_tiny(tmp_path / "base.safetensors")), CPU, torch.float32)


def predicted(unet: Unet) -> Tensor:
    chance = torch.Generator().manual_seed(0)
    told = unet.tell(
        torch.tensor([500.0, 20.0]),
        [Conditioning(torch.randn(77, 24, generator=chance), torch.randn(16, generator=chance)) for _ in range(2)],
        unet.size_ids(64, 64, negative=False),
    )
    return unet.predict(torch.randn(2, CHANNELS, 8, 8, generator=chance), told)


def test_predictions_are_the_same_bits_again_and_again(unet: Unet) -> None:
    expected = predicted(unet)
    coming_and_going = streamed(unet, CPU)
    for _ in range(2):
        assert torch.equal(predicted(coming_and_going), expected)
    assert torch.equal(predicted(unet), expected)


def test_one_block_is_there_at_a_time(unet: Unet, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is what is not the host's own."""
    hosts = {weight.data_ptr() for weight in unet.network.parameters()}
    coming_and_going = streamed(unet, CPU)
    blocks = [one for one in coming_and_going.network.modules() if isinstance(one, ResnetBlock | TransformerBlock)]
    always = {id(block): there(block, hosts) for block in blocks}
    seen: list[nn.Module] = []

    def look(block: nn.Module, *_: object) -> None:
        assert all(there(other, hosts) == always[id(other)] for other in blocks if other is not block)
        assert there(block, hosts) == sum(1 for _ in block.parameters())
        seen.append(block)

    for block in blocks:
        block.register_forward_pre_hook(look)
    predicted(coming_and_going)
    assert len(seen) == len(blocks)
    assert {id(block): there(block, hosts) for block in blocks} == always


def there(block: nn.Module, hosts: set[int]) -> int:
    return sum(weight.data_ptr() not in hosts for weight in block.parameters())


def test_a_block_that_fails_leaves_nothing_behind(unet: Unet, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = {weight.data_ptr() for weight in unet.network.parameters()}
    coming_and_going = streamed(unet, CPU)
    before = there(coming_and_going.network, hosts)
    with monkeypatch.context() as patch:
        patch.setattr("gesso.sdxl.blocks.gated", lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError()))
        with pytest.raises(torch.OutOfMemoryError):
            predicted(coming_and_going)
    assert there(coming_and_going.network, hosts) == before
    assert torch.equal(predicted(coming_and_going), predicted(unet))


@pytest.mark.parametrize("precision", [Precision(torch.bfloat16), FP8], ids=["bfloat16", "fp8"])
def test_of_sdxl_next_to_nothing_stays(precision: Precision) -> None:
    assert SDXL_BASE.unet is not None
    assert 0.05 < staying_share(SDXL_BASE.unet, precision) < 0.3
