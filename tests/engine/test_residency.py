"""What stays loaded: by bytes, the least recently used leaves, never what is in use."""

import pytest

from gesso.engine.residency import Residency, Resident


def brought(parts: Residency[str, str], *keys: str) -> dict[str, Resident[str]]:
    """Parts of a byte each, in use and there."""
    held = parts.hold(dict.fromkeys(keys, 1))
    assert held is not None
    for key, resident in held.items():
        if resident.part is None:
            parts.arrived(key, key)
    return held


def used(parts: Residency[str, str], *keys: str) -> None:
    for key in keys:
        parts.give_back(brought(parts, key).values())


def test_the_least_recently_used_leaves() -> None:
    parts: Residency[str, str] = Residency(budget=2)
    used(parts, "a", "b", "a", "c")
    assert [key in parts for key in "abc"] == [True, False, True]
    assert parts.size == 2


def test_nothing_in_use_leaves_and_who_finds_no_room_holds_nothing() -> None:
    parts: Residency[str, str] = Residency(budget=2)
    held = brought(parts, "a")
    assert parts.hold({"b": 1, "c": 1}) is None
    assert ("b" in parts, "c" in parts) == (False, False)
    parts.give_back(held.values())
    assert parts.hold({"b": 1, "c": 1}) is not None
    assert "a" not in parts


def test_what_is_there_is_not_driven_out_for_what_is_wanted_with_it() -> None:
    parts: Residency[str, str] = Residency(budget=2)
    used(parts, "a", "b")
    assert brought(parts, "a", "c")["a"].part == "a"
    assert "b" not in parts


def test_what_is_coming_takes_its_room_already_and_does_not_leave() -> None:
    parts: Residency[str, str] = Residency(budget=1)
    held = parts.hold({"a": 1})
    assert held is not None
    parts.give_back(held.values())
    assert parts.hold({"b": 1}) is None
    parts.arrived("a", "a")
    assert parts.hold({"b": 1}) is not None
    assert "a" not in parts


def test_what_is_larger_than_the_budget_has_room_when_nothing_else_is_in_use() -> None:
    parts: Residency[str, str] = Residency(budget=1)
    held = brought(parts, "a", "b")
    assert parts.hold({"c": 1}) is None
    parts.give_back(held.values())
    assert parts.size <= 1


def test_who_waits_for_what_fails_finds_out_and_the_next_may_try_again() -> None:
    parts: Residency[str, str] = Residency(budget=1)
    held = parts.hold({"a": 1})
    assert held is not None
    parts.failed("a", OSError("gone"))
    assert isinstance(held["a"].error, OSError)
    assert "a" not in parts
    parts.give_back(held.values())
    assert brought(parts, "a")["a"].part == "a"


def test_bytes_that_are_claimed_make_unused_parts_leave() -> None:
    parts: Residency[str, str] = Residency(budget=3)
    used(parts, "a", "b")
    parts.claim(2)
    assert [key in parts for key in "ab"] == [False, True]
    parts.disclaim(2)
    used(parts, "a")
    assert parts.size == 2


@pytest.mark.parametrize(("size", "stays"), [(2, True), (3, False)])
def test_what_is_put_aside_stays_if_it_fits(size: int, stays: bool) -> None:
    parts: Residency[str, str] = Residency(budget=2)
    parts.put("a", "a", 1)
    parts.put("b", "b", size)
    assert ("a" in parts, "b" in parts) == (False, stays)
    assert parts.find("b") == ("b" if stays else None)
