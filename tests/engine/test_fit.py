"""What an engine does with the memory it has: everything stays, takes turns, makes room step by step, or cannot be."""

import pytest

from gesso.engine.fit import Need, fit

GB = 10**9
BASE = Need({"encoders": 2 * GB}, {"base": 5 * GB, "refiner": 4 * GB, "vae": GB // 2})
OTHER = Need({"encoders": 2 * GB}, {"other": 5 * GB, "vae": GB // 2})


@pytest.mark.parametrize(
    ("budget", "works", "beginning"),
    [
        (17 * GB, True, "everything that is bound stays loaded: 16.5 GB of 17.0 GB"),
        (16 * GB, True, "checkpoints take turns"),
        (23 * GB // 2, True, "checkpoints take turns"),
        (11 * GB, True, "text encoders leave when prompts are encoded"),
        (9 * GB, False, "a request needs 9.5 GB at once and 9.0 GB may be taken"),
    ],
)
def test_what_is_shared_counts_once_and_what_is_needed_later_does_not_count_at_the_same_time(
    budget: int, works: bool, beginning: str
) -> None:
    found = fit(budget, [BASE, OTHER], streams=False)
    assert found.works == works
    assert found.sentence.startswith(beginning)


def test_nothing_bound_fits() -> None:
    assert fit(1, [], streams=False).works


def test_a_device_of_its_own_memory_has_what_is_too_large_streamed() -> None:
    found = fit(9 * GB, [BASE, OTHER], streams=True)
    assert found.works
    assert found.sentence.startswith("UNets' weights are streamed")


@pytest.mark.parametrize(("computing", "said"), [(None, False), (4194304 * 3, False), (3_000_000, True)])
def test_pictures_too_large_for_the_memory_beside_are_said_to_go_in_strips(computing: int | None, said: bool) -> None:
    painting = Need({}, {"base": GB}, a_pixel=3)
    found = fit(2 * GB, [painting], streams=True, computing=computing)
    assert found.works
    assert ("pictures of more than 1.0 million pixels go in strips" in found.sentence) == said
