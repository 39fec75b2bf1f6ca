"""The engine's small owners: where images live, what stays loaded."""

import pytest
import torch

from gesso.engine.residency import Residency
from gesso.engine.slots import Slab


def test_a_recycled_slot_does_not_poison_its_successor() -> None:
    slab = Slab((1, 2, 2), slots=1, device=torch.device("cpu"))
    slot = slab.take()
    assert slot == 0
    slab.latents[slot] = torch.nan
    slab.predictions[slot] = torch.nan
    slab.give_back(slot)
    assert slab.take() == 0
    assert torch.isfinite(slab.latents).all()
    assert torch.isfinite(slab.predictions).all()


def test_a_full_slab_doubles_and_keeps_what_it_holds() -> None:
    slab = Slab((1, 2, 2), slots=2, device=torch.device("cpu"))
    assert {slab.take(), slab.take()} == {0, 1}
    slab.begin(1, torch.ones(1, 2, 2))
    assert {slab.take(), slab.take()} == {2, 3}
    assert slab.latents[1, 0].eq(1).all()
    assert not slab.is_empty


def test_bytes_that_are_claimed_make_unused_parts_leave() -> None:
    parts: Residency[str] = Residency(budget=3, size_of=len)
    for key in ("a", "b"):
        with parts.using(key, lambda key=key: key):  # type: ignore[misc]
            pass
    parts.claim(2)
    assert [key in parts for key in "ab"] == [False, True]
    parts.disclaim(2)
    with parts.using("a", lambda: "a"):
        pass
    assert parts.size == 2


def test_a_slot_keeps_its_last_four_newest_first() -> None:
    slab = Slab((1, 1, 1), slots=2, device=torch.device("cpu"))
    for number in range(1, 7):
        slab.push(torch.tensor([1]), torch.full((1, 1, 1, 1), float(number)))
    assert slab.latents[1].flatten().tolist() == [6, 5, 4, 3]
    assert slab.latents[0].flatten().tolist() == [0, 0, 0, 0]


class TestResidency:
    def test_the_least_recently_used_leaves(self) -> None:
        parts: Residency[str] = Residency(budget=2, size_of=len)
        for key in ("a", "b", "a", "c"):
            with parts.using(key, lambda key=key: key):  # type: ignore[misc]
                pass
        assert [key in parts for key in "abc"] == [True, False, True]
        assert parts.size == 2

    def test_nothing_in_use_leaves(self) -> None:
        parts: Residency[str] = Residency(budget=1, size_of=len)
        parts.take("a", lambda: "a")
        parts.take("b", lambda: "b")
        assert "a" in parts
        parts.give_back("a")
        with parts.using("c", lambda: "c"):
            pass
        assert "a" not in parts
        assert "b" in parts

    def test_what_fails_to_load_is_not_kept(self) -> None:
        parts: Residency[str] = Residency(budget=1, size_of=len)

        def fail() -> str:
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            parts.take("a", fail)
        assert "a" not in parts
        assert parts.take("a", lambda: "a") == "a"
