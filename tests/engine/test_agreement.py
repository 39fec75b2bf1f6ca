"""A size of call is used where it agrees with the images' own calls, and only there."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gesso.engine import agreement
from gesso.engine.agreement import Agreement

VALUES = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


class Network:
    """Rounds otherwise in calls of some sizes."""

    def __init__(self, odd_ones_out: Sequence[int] = ()) -> None:
        self.odd_ones_out = odd_ones_out
        self.calls: list[int] = []

    def __call__(self, rows: Sequence[int]) -> Tensor:
        self.calls.append(len(rows))
        return VALUES[list(rows)] + (1e-7 if len(rows) in self.odd_ones_out else 0)


def images_of(widths: Sequence[int]) -> list[range]:
    ends = [sum(widths[: number + 1]) for number in range(len(widths))]
    return [range(end - width, end) for end, width in zip(ends, widths, strict=True)]


@given(st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=8), min_size=1, max_size=12), st.data())
def test_every_row_has_the_bits_of_its_images_own_call(batches: list[list[int]], data: st.DataObject) -> None:
    network = Network(data.draw(st.lists(st.sampled_from([4, 6, 8, 10, 12, 14, 16]), unique=True)))
    known = Agreement()
    for widths in batches:
        rows = sum(widths)
        assert torch.equal(known.evaluate("shape", images_of(widths), network), VALUES[:rows])
    assert all(size % 2 == 0 for size in network.calls)


def test_a_size_that_agreed_long_enough_is_compared_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "TRUSTED", 2 * 8 * 3)
    network, known = Network(), Agreement()
    for _ in range(3):
        known.evaluate("shape", images_of([2, 2, 2, 2]), network)
    assert network.calls == [*(2, 2, 2, 2, 8), *(2, 2, 2, 2, 8), 8]


def test_a_size_that_disagreed_once_is_split_there_and_tried_elsewhere() -> None:
    network, known = Network([8]), Agreement()
    for _ in range(2):
        known.evaluate("shape", images_of([2, 2, 2, 2]), network)
    assert network.calls == [*(2, 2, 2, 2, 8), *(2, 2, 2, 6), 2]
    network.calls.clear()
    known.evaluate("another shape", images_of([2, 2, 2, 2]), network)
    assert 8 in network.calls


def test_an_image_alone_is_one_call_and_a_single_row_goes_twice() -> None:
    network, known = Network(), Agreement()
    known.evaluate("shape", images_of([2]), network)
    assert known.evaluate("shape", images_of([1]), network).shape == (1, 3)
    assert network.calls == [2, 2]


def test_numbers_that_are_none_decide_nothing() -> None:
    known = Agreement()
    calls: list[int] = []

    def network(rows: Sequence[int]) -> Tensor:
        calls.append(len(rows))
        return torch.full((len(rows), 3), torch.nan)

    known.evaluate("shape", images_of([2, 2]), network)
    assert calls == [2, 2]
    agreeing = Network()
    known.evaluate("shape", images_of([2, 2]), agreeing)
    assert agreeing.calls == [2, 2, 4]
