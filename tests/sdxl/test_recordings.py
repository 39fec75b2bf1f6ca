"""On a GPU a call is recorded when its shapes come again, and gives the same numbers ever after."""

import pytest
import torch
from torch import Tensor

from gesso.sdxl import recordings
from gesso.sdxl.recordings import Recorded


class Counted:
    """A call that counts how often it was really made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        self.made += 1
        return one @ other + 1


def test_without_a_gpu_every_call_is_made() -> None:
    call = Counted()
    recorded = Recorded(call)
    one, other = torch.randn(2, 3), torch.randn(3, 2)
    for _ in range(3):
        assert torch.equal(recorded(one, other), one @ other + 1)
    assert call.made == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_a_recording_gives_what_the_call_would_and_each_answer_stays() -> None:
    call = Counted()
    recorded = Recorded(call)
    asked = [(torch.randn(size, 8, device="cuda"), torch.randn(8, 8, device="cuda")) for size in (4, 5) * 4]
    answers = [recorded(*inputs) for inputs in asked]
    assert call.made == 4, "once as it stands and once recorded, for each of two shapes"
    for (one, other), answer in zip(asked, answers, strict=True):
        assert torch.equal(answer, one @ other + 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_of_too_many_recordings_the_longest_unplayed_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "KEPT", 2)
    call = Counted()
    recorded = Recorded(call)
    other = torch.randn(8, 8, device="cuda")
    for size in (1, 2, 1, 3, 1):
        recorded(torch.randn(size, 8, device="cuda"), other)
    assert call.made == 4
    recorded(torch.randn(2, 8, device="cuda"), other)
    assert call.made == 5
