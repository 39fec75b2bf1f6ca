"""Where images live."""

import torch

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


def test_a_slot_keeps_its_last_four_newest_first() -> None:
    slab = Slab((1, 1, 1), slots=2, device=torch.device("cpu"))
    for number in range(1, 7):
        slab.push(torch.tensor([1]), torch.full((1, 1, 1, 1), float(number)))
    assert slab.latents[1].flatten().tolist() == [6, 5, 4, 3]
    assert slab.latents[0].flatten().tolist() == [0, 0, 0, 0]
