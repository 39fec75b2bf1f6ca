"""Who does the next unit of work: the shortest, but nobody waits for ever, and accounts share fairly."""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.engine.choose import SLOWDOWN, TURN, Candidate, Chooser, Work
from gesso.engine.costs import Costs
from gesso.engine.shares import QUANTUM, SPARED

PRICES = {1: 0.6, 2: 1.0, 4: 1.8, 8: 3.4}  # seconds by rows; whoever joins pays less than alone, more than half of it
CAP = 8
PATIENCE = 4


def known_costs(prices: dict[int, float] = PRICES) -> Costs:
    costs = Costs(CAP)
    for key, (rows, taken) in itertools.product("abc", prices.items()):
        for _ in range(2):
            costs.measured(key, rows, taken)
    return costs


COSTS = known_costs()


def image(
    work: Work = "denoise",
    key: str = "a",
    account: int = 1,
    rows: int = 2,
    remaining: float = 10.0,
    total: float = 10.0,
    waited: float = 0.0,
) -> Candidate:
    return Candidate(work, key, account, rows, remaining, max(total, remaining), waited)


images = st.builds(
    image,
    work=st.sampled_from(("encode", "denoise", "denoise", "decode")),
    key=st.sampled_from("abc"),
    account=st.integers(1, 3),
    rows=st.integers(1, 4),
    remaining=st.floats(0.1, 100),
    total=st.floats(0.1, 100),
    waited=st.floats(0, 2000),
)
queues = st.lists(images, min_size=1, max_size=30)


@dataclasses.dataclass
class Painting:
    """An image on its way through an engine of one key and given prices: `steps` of `rows`, one second for each end."""

    account: int
    steps: int
    rows: int = 2
    key: str = "a"
    work: Work = "encode"
    came: float = 0.0
    done: int = 0

    def candidate(self, now: float) -> Candidate:
        step, ends = COSTS.seconds(self.key, self.rows), {"encode": 2.0, "denoise": 1.0, "decode": 1.0}
        remaining = (self.steps - self.done) * step + ends[self.work]
        return Candidate(
            self.work, self.key, self.account, self.rows, remaining, self.steps * step + 2, now - self.came
        )

    def advance(self) -> bool:
        """One unit further; True after the last."""
        if self.work == "decode":
            return True
        self.done += self.work == "denoise"
        self.work = "decode" if self.done == self.steps else "denoise"
        return False


Refill = Callable[[Painting], Painting | None]


class Engine:
    """Runs what a chooser chooses; `spent` is each account's time. `refill` replaces an image that is done."""

    def __init__(
        self,
        queue: list[Painting],
        refill: Callable[[Painting], Painting | None] = lambda done: None,
        shares: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.chooser, self.queue, self.refill, self.shares = Chooser(patience=PATIENCE), queue, refill, shares
        self.now, self.spent, self.keys = 0.0, defaultdict[int, float](float), list[str]()

    def unit(self) -> list[Painting]:
        """One unit of work; told is who did it."""
        candidates = [one.candidate(self.now) for one in self.queue]
        did = [self.queue[place] for place in self.chooser.choose(candidates, COSTS)]
        alone = did[0].work != "denoise"
        seconds = 1.0 if alone else COSTS.seconds(did[0].key, sum(one.rows for one in did))
        self.keys += [] if alone else [did[0].key]
        self.now += seconds
        for one in did:
            self.spent[one.account] += seconds / len(did)
            self.chooser.served(one.account, seconds / len(did), self.shares.get(one.account, 1))
            if one.advance():
                self._replace(one)
        return did

    def _replace(self, one: Painting) -> None:
        self.queue.remove(one)
        if (new := self.refill(one)) is not None:
            new.came = self.now
            self.queue.append(new)


@given(st.lists(queues, max_size=12))
def test_work_is_never_left_and_only_like_share_a_call_within_the_cap(history: list[list[Candidate]]) -> None:
    chooser = Chooser()
    for queue in history:
        chosen = chooser.choose(queue, COSTS)
        together = [queue[place] for place in chosen]
        assert together
        assert len(set(chosen)) == len(chosen)
        assert len({(one.work, one.key) for one in together}) == 1
        assert len(together) == 1 or together[0].work == "denoise"
        assert len(together) == 1 or sum(one.rows for one in together) <= CAP
        for one in together:
            chooser.served(one.account, 1.0)


def test_nothing_to_do_is_nobody() -> None:
    assert Chooser().choose([], COSTS) == []


@given(st.lists(queues, max_size=12))
def test_equal_histories_choose_equally(history: list[list[Candidate]]) -> None:
    one, other = Chooser(), Chooser()
    for queue in history:
        assert one.choose(queue, COSTS) == other.choose(queue, COSTS)


@given(queues)
def test_the_shortest_goes_first(queue: list[Candidate]) -> None:
    chosen = Chooser().choose(queue, COSTS)
    shortest = min(one.remaining for one in queue)
    leads = queue[chosen[0]].remaining == shortest
    is_encoded_for_it = queue[chosen[0]].work == "encode" and any(
        one.remaining == shortest and one.work == "denoise" and one.key == queue[chosen[0]].key for one in queue
    )
    assert leads or is_encoded_for_it


def test_the_shortest_of_the_same_key_join_as_far_as_there_is_room() -> None:
    queue = [image(remaining=remaining) for remaining in (9, 5, 7, 6, 8)]
    assert Chooser().choose(queue, COSTS) == [1, 3, 2, 4]


def test_a_call_has_no_more_rows_than_pay() -> None:
    queue = [image(rows=1, remaining=5), *[image()] * 4]
    assert Chooser().choose(queue, COSTS) == [0, 1, 2, 3]


def test_of_equals_the_first_come_goes_first() -> None:
    queue = [image(waited=waited) for waited in (1, 3, 2, 0, 4)]
    assert Chooser().choose(queue, COSTS) == [4, 1, 2, 0]


def test_who_could_join_is_encoded_before_but_steps_go_on() -> None:
    queue = [image(remaining=5), image("encode"), image("encode"), image("encode", key="b")]
    chooser = Chooser()
    assert [chooser.choose(queue, COSTS) for _ in range(4)] == [[1], [0], [1], [0]]


class TestLateness:
    def test_the_longest_late_has_its_turn(self) -> None:
        short = image(remaining=1.0, total=1.0)
        later, late = (image(key="b", waited=SLOWDOWN * 10 + more) for more in (5, 7))
        chooser = Chooser()
        chosen = [chooser.choose([short, later, late], COSTS) for _ in range(2 * TURN)]
        assert [units for units in chosen if units[0] == 2] == [[2, 1]] * 2
        assert chosen.count([0]) == 2 * TURN - 2

    def test_who_is_slowed_within_the_threshold_has_none(self) -> None:
        queue = [image(remaining=1.0, total=1.0), image(key="b", waited=SLOWDOWN * 10 - 11)]
        chooser = Chooser()
        assert all(chooser.choose(queue, COSTS) == [0] for _ in range(2 * TURN))

    def test_the_turn_of_the_late_is_not_spent_on_encoding_others(self) -> None:
        newcomers = [image("encode", remaining=1.0, total=1.0)] * 30
        queue = [image(waited=1000.0), *newcomers]
        chooser = Chooser()
        assert sum(chooser.choose(queue, COSTS) == [0] for _ in range(3 * TURN)) >= 3

    @settings(max_examples=25)
    @given(st.integers(2, 24), st.integers(1, 3), st.integers(5, 30))
    def test_nobody_waits_longer_than_the_threshold_and_a_few_times_what_the_queue_holds(
        self, capacity: int, steps: int, long_steps: int
    ) -> None:
        """However many shorter ones come: each place in the queue is taken again at once."""
        long = Painting(1, long_steps)
        engine = Engine([long] + [Painting(1, steps) for _ in range(capacity - 1)], lambda done: Painting(1, steps))
        total = long.candidate(0.0).total
        held = sum(one.candidate(0.0).total for one in engine.queue)
        slowest_unit = max(PRICES.values())
        while long in engine.queue:
            engine.unit()
            assert engine.now <= SLOWDOWN * total + TURN * slowest_unit * held


def endless(key: str, account: int, lengths: Sequence[int], images: int) -> Iterator[Painting]:
    steps = itertools.cycle(lengths)
    return (Painting(account, next(steps), key=key) for _ in range(images))


OVERSHOOT = (PATIENCE + 1) * max(PRICES.values())
"""What an account may have beyond its quantum, since a key is kept for a while."""


def longest_of(queue: Sequence[Painting]) -> float:
    return max(one.candidate(0.0).total for one in queue)


def the_most_apart(queue: list[Painting]) -> float:
    """How far apart the time of two accounts with endless work ever is."""
    engine = Engine(queue, lambda done: Painting(done.account, done.steps, key=done.key))
    apart = 0.0
    for _ in range(400):
        engine.unit()
        apart = max(apart, abs(engine.spent[1] - engine.spent[2]))
    return apart


class TestShares:
    @settings(max_examples=25)
    @given(
        st.lists(st.integers(2, 20), min_size=1, max_size=5),
        st.lists(st.integers(2, 20), min_size=1, max_size=5),
        st.integers(1, 20),
        st.integers(1, 20),
    )
    def test_two_accounts_with_endless_work_have_the_same_time_to_within_a_quantum(
        self, ours: list[int], theirs: list[int], our_images: int, their_images: int
    ) -> None:
        queue = [*endless("a", 1, ours, our_images), *endless("b", 2, theirs, their_images)]
        assert the_most_apart(queue) <= QUANTUM * longest_of(queue) + OVERSHOOT

    @settings(max_examples=25)
    @given(st.integers(2, 20), st.integers(2, 20))
    def test_accounts_with_piles_of_work_have_the_same_time_to_within_an_image(self, ours: int, theirs: int) -> None:
        queue = [*endless("a", 1, [ours, 20], 40), *endless("b", 2, [theirs, 20], 40)]
        assert the_most_apart(queue) <= SPARED * longest_of(queue) + OVERSHOOT

    @pytest.mark.parametrize("share", [2, 3, 5])
    def test_accounts_with_piles_of_work_have_time_by_their_shares(self, share: int) -> None:
        queue = [*endless("a", 1, [5, 20], 40), *endless("b", 2, [5, 20], 40)]
        engine = Engine(queue, lambda done: Painting(done.account, done.steps, key=done.key), {1: share})
        for _ in range(1000):
            engine.unit()
        assert engine.spent[1] / engine.spent[2] == pytest.approx(share, rel=0.1)

    def test_who_comes_back_from_idle_has_saved_nothing_up(self) -> None:
        engine = Engine(list(endless("a", 1, [5], 40)), lambda done: Painting(done.account, done.steps, key=done.key))
        for _ in range(200):
            engine.unit()
        engine.queue += endless("b", 2, [5], 40)
        before = engine.spent.copy()
        for _ in range(200):
            engine.unit()
        assert engine.spent[1] - before[1] == pytest.approx(engine.spent[2] - before[2], abs=10)

    def test_a_flood_waits_behind_a_request_of_another_account(self) -> None:
        engine = Engine(list(endless("a", 1, [6], 64)), lambda done: Painting(done.account, done.steps))
        for _ in range(100):
            engine.unit()
        other = Painting(2, 10, key="b", came=engine.now)
        engine.queue.append(other)
        began = engine.now
        while other in engine.queue:
            engine.unit()
        assert engine.now - began < 2.5 * other.candidate(0.0).total

    def test_who_has_had_more_takes_what_others_leave_of_their_calls_but_does_not_slow_them_much(self) -> None:
        costs = Costs()
        for rows, seconds in ((2, 1.0), (3, 1.05), (4, 1.3)) * 2:
            costs.measured("a", rows, seconds)
        few_rows = image(account=2, rows=1, remaining=3.0)
        chooser = Chooser()
        queue = [image(account=1), few_rows, few_rows]
        chooser.choose(queue, costs)
        chooser.served(2, 1000.0)
        assert chooser.choose(queue, costs) == [0, 1]
        assert chooser.choose(queue[1:], costs) == [0, 1]

    def test_a_row_of_newcomers_does_not_keep_those_waiting_who_have_had_more(self) -> None:
        """Each newcomer is an account of its own, gone when its one image is done; there are always four."""
        numbers = itertools.count(2)
        engine = Engine([Painting(next(numbers), 3, key="b") for _ in range(4)])
        engine.refill = lambda done: Painting(next(numbers), 3, key="b") if done.account > 1 else None
        engine.unit()
        engine.queue.append(long := Painting(1, 30))
        for _ in range(2000):
            engine.unit()
        assert long not in engine.queue


class TestSwitching:
    def test_accounts_of_different_keys_do_not_take_turns_call_by_call(self) -> None:
        engine = Engine([*endless("a", 1, [20], 3), *endless("b", 2, [20], 3)])
        engine.refill = lambda done: Painting(done.account, done.steps, key=done.key)
        for _ in range(400):
            engine.unit()
        stays = [len(list(same)) for _, same in itertools.groupby(engine.keys)]
        assert sum(stays) / len(stays) >= 3

    def test_a_shorter_image_of_another_key_is_worth_the_switch(self) -> None:
        chooser = Chooser(switch_seconds=1.0, patience=10)
        assert chooser.choose([image(), image(key="b", remaining=20)], COSTS) == [0]
        assert chooser.choose([image(), image(key="b", remaining=9.5)], COSTS) == [0]
        assert chooser.choose([image(), image(key="b", remaining=8.5)], COSTS) == [1]

    def test_patience_ends(self) -> None:
        chooser = Chooser(switch_seconds=1.0, patience=3)
        chooser.choose([image()], COSTS)
        chosen = [chooser.choose([image(), image(key="b", remaining=9.5)], COSTS) for _ in range(3)]
        assert chosen == [[0], [0], [1]]
