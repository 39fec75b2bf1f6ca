"""What calls cost, from what was measured of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.engine.costs import KEPT, PROBE, SLACK, Costs

seconds = st.floats(1e-4, 1e3)


def learn(costs: Costs, table: dict[int, float], calls: int = 3, key: str = "a") -> None:
    for rows, taken in table.items():
        for _ in range(calls):
            costs.measured(key, rows, taken)


class TestSeconds:
    def test_what_was_measured_is_what_it_costs(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0, 4: 1.5})
        assert [costs.seconds("a", rows) for rows in (2, 3, 4, 8)] == pytest.approx([1.0, 1.25, 1.5, 2.5])

    @given(st.floats(0, 1), st.floats(1e-3, 1), st.sets(st.integers(1, 16), min_size=2), st.integers(1, 64))
    def test_a_line_is_found_whatever_sizes_were_measured(
        self, fixed: float, per_row: float, sizes: set[int], rows: int
    ) -> None:
        costs = Costs()
        learn(costs, {size: fixed + per_row * size for size in sizes})
        assert costs.seconds("a", rows) == pytest.approx(fixed + per_row * rows)

    def test_while_one_size_is_known_half_of_it_is_thought_to_hang_on_rows(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0})
        assert [costs.seconds("a", rows) for rows in (1, 2, 4)] == [0.75, 1.0, 1.5]

    def test_a_row_less_never_costs_more_nor_more_than_in_proportion_less(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0, 4: 0.5}, key="falling")
        learn(costs, {2: 1.0, 4: 3.0}, key="steep")
        assert costs.seconds("falling", 1) == 1.0
        assert costs.seconds("steep", 1) == 0.5

    def test_each_measurement_counts_at_once(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0, 4: 2.0})
        assert costs.seconds("a", 8) == 4.0
        learn(costs, {8: 3.0})
        assert costs.seconds("a", 8) == 3.0

    @given(st.dictionaries(st.integers(1, 16), seconds), st.integers(1, 64))
    def test_no_measurements_make_a_call_cost_nothing(self, table: dict[int, float], rows: int) -> None:
        costs = Costs()
        learn(costs, table)
        assert costs.seconds("a", rows) > 0

    def test_the_first_call_may_be_slow(self) -> None:
        costs = Costs()
        for taken in (60.0, 1.0):
            costs.measured("a", 2, taken)
        assert costs.seconds("a", 2) == 1.0

    def test_one_slow_call_among_many_counts_little(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0}, calls=10)
        costs.measured("a", 2, 1000.0)
        assert costs.seconds("a", 2) < 1.25

    @given(seconds, seconds)
    def test_what_has_changed_for_good_is_learnt(self, before: float, after: float) -> None:
        costs = Costs()
        learn(costs, {2: before})
        learn(costs, {2: after}, calls=150)
        assert costs.seconds("a", 2) == pytest.approx(after, rel=0.01)

    def test_what_was_not_measured_costs_what_was_expected(self) -> None:
        costs = Costs()
        costs.expect("a", 0.5)
        assert costs.seconds("a", 1) == 0.5

    def test_what_was_measured_of_one_corrects_what_is_expected_of_another(self) -> None:
        costs = Costs()
        costs.expect("small", 0.1)
        costs.expect("large", 0.4)
        learn(costs, {1: 2.0}, calls=50, key="small")
        assert costs.seconds("large", 1) == pytest.approx(8.0, rel=0.01)

    def test_keys_that_were_not_asked_for_for_long_are_forgotten(self) -> None:
        costs = Costs()
        learn(costs, {2: 7.0}, key="old")
        learn(costs, {2: 7.0}, key="used")
        for number in range(KEPT + 5):
            costs.expect(number, 1.0)
            assert costs.seconds("used", 2) == 7.0
        assert costs.seconds("used", 2) == 7.0
        assert costs.seconds("old", 2) != 7.0


class TestCap:
    def test_calls_grow_while_larger_ones_pay_and_no_further(self) -> None:
        costs = Costs(limit=64)
        prices = {2: 30.0, 4: 55.0, 8: 104.0, 16: 208.0}
        reached = []
        for _ in range(12):
            reached.append(costs.cap("a"))
            costs.measured("a", reached[-1], prices[reached[-1]])
        assert reached[0] == 4
        assert max(reached) == 16
        assert reached[-1] == 8

    @given(st.integers(1, 32), st.dictionaries(st.integers(1, 32), seconds), st.integers(1, 4))
    def test_it_is_never_above_the_limit(self, limit: int, table: dict[int, float], calls: int) -> None:
        costs = Costs(limit)
        learn(costs, table, calls)
        assert 1 <= costs.cap("a") <= limit

    @given(st.dictionaries(st.integers(1, 15), seconds, min_size=1))
    def test_a_row_costs_there_nearly_what_it_costs_in_the_cheapest_size_that_is_known(
        self, table: dict[int, float]
    ) -> None:
        costs = Costs()
        learn(costs, table, calls=2)
        best = min(table[rows] / rows for rows in table)
        good = {rows for rows in table if table[rows] / rows <= best * (1 + SLACK)}
        largest = max(table)
        assert costs.cap("a") in good or (largest in good and costs.cap("a") == min(16, 2 * largest))

    def test_a_size_whose_first_call_was_slow_is_tried_again(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0, 4: 1.5})
        costs.measured("a", 8, 60.0)
        assert costs.cap("a") == 8

    def test_a_size_that_has_become_cheap_is_found_in_time(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0, 4: 1.5, 8: 9.0})
        assert costs.cap("a") == 4
        for _ in range(40 * PROBE):
            cap = costs.cap("a")
            costs.measured("a", cap, {4: 1.5, 8: 2.5, 16: 6.0}[cap])
        assert costs.cap("a") == 8

    def test_out_of_memory_halves_it_for_good(self) -> None:
        costs = Costs()
        learn(costs, {2: 1.0, 4: 1.5, 8: 2.0})
        costs.halve("a", 16)
        assert costs.cap("a") == 8
        costs.halve("a", 6)
        for _ in range(2 * PROBE):
            costs.measured("a", costs.cap("a"), 1.0)
            assert costs.cap("a") <= 3
        costs.halve("a", 1)
        assert costs.cap("a") == 1

    def test_another_key_keeps_its_own(self) -> None:
        costs = Costs()
        costs.halve("a", 2)
        assert costs.cap("b") > costs.cap("a")


def test_what_is_measured_of_one_checkpoint_is_known_of_all_of_its_form() -> None:
    costs = Costs()
    for key in ("one", "other"):
        costs.alike(key, "form")
        costs.expect(key, 5.0)
    for _ in range(2):
        costs.measured("one", 2, 0.5)
    assert costs.seconds("other", 2) == 0.5
    costs.halve("one", 8)
    assert costs.cap("other") <= 4
