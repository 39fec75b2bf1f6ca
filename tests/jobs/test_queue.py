import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.accounts.accounts import ALL, Allowance
from gesso.errors import QueueFull
from gesso.jobs.queue import Queue


async def let_everyone_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Visit:
    """A request that stays in the engine until it is told to leave."""

    def __init__(self, queue: Queue, account_id: int, images: int = 1, allowance: Allowance = ALL) -> None:
        self.account_id = account_id
        self.inside = False
        self.left = asyncio.Event()
        self.images = images
        self.task = asyncio.create_task(self._go(queue, allowance))

    async def _go(self, queue: Queue, allowance: Allowance) -> None:
        with queue.ticket(self.account_id, self.images, allowance) as ticket:
            async with ticket.turn():
                self.inside = True
                try:
                    await self.left.wait()
                finally:
                    self.inside = False

    async def leave(self) -> None:
        self.left.set()
        await self.task


async def turns(visits: Iterable[Visit], count: int) -> list[int]:
    """The accounts of the first so many that are let in, where whoever came in first leaves first."""
    waiting, inside, order = list(visits), deque[Visit](), list[int]()
    while len(order) < count:
        await let_everyone_run()
        came = [visit for visit in waiting if visit.inside]
        waiting = [visit for visit in waiting if not visit.inside]
        inside.extend(came)
        order.extend(visit.account_id for visit in came)
        await inside.popleft().leave()
    return order[:count]


async def end(visits: Iterable[Visit]) -> None:
    tasks = [visit.task for visit in visits]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_as_many_images_as_there_is_room_for_are_let_in() -> None:
    queue = Queue(per_account=64, total=64, room=4)
    visits = [Visit(queue, account_id, images) for account_id, images in ((1, 2), (2, 2), (3, 1))]
    await let_everyone_run()
    assert [visit.inside for visit in visits] == [True, True, False]
    assert queue.waiting == 1
    await visits[0].leave()
    await let_everyone_run()
    assert visits[2].inside
    assert queue.waiting == 0
    await end(visits)


async def test_accounts_take_turns_however_many_requests_one_has() -> None:
    queue = Queue(per_account=64, total=64, room=1)
    first = Visit(queue, account_id=1)
    await let_everyone_run()
    flood = [Visit(queue, account_id=1) for _ in range(20)]
    await let_everyone_run()
    guest = Visit(queue, account_id=2)
    await let_everyone_run()
    await first.leave()
    await let_everyone_run()
    assert flood[0].inside
    await flood[0].leave()
    await let_everyone_run()
    assert guest.inside
    await end([*flood, guest])


async def test_an_account_that_floods_leaves_as_much_room_as_it_takes() -> None:
    queue = Queue(per_account=64, total=128, room=8)
    flood = [Visit(queue, account_id=1) for _ in range(20)]
    await let_everyone_run()
    assert sum(visit.inside for visit in flood) == 4
    guests = [Visit(queue, account_id=2, images=2), Visit(queue, account_id=3)]
    await let_everyone_run()
    assert all(guest.inside for guest in guests), "they find room at once"
    for visit in flood[:4]:
        await visit.leave()
    await let_everyone_run()
    assert sum(visit.inside for visit in flood) == 3, "no more than it leaves free: 8 less 2 less 1 less 3 is 2"
    await end([*flood, *guests])


async def test_a_large_request_is_not_passed_by_small_ones() -> None:
    queue = Queue(per_account=64, total=64, room=4)
    inside = [Visit(queue, account_id) for account_id in (1, 2, 3, 4)]
    await let_everyone_run()
    large, small = Visit(queue, 5, images=4), Visit(queue, 6)
    await let_everyone_run()
    for visit in inside[:3]:
        await visit.leave()
    await let_everyone_run()
    assert not large.inside
    assert not small.inside
    await inside[3].leave()
    await let_everyone_run()
    assert large.inside
    await end([large, small])


async def test_a_request_larger_than_the_room_has_it_alone() -> None:
    queue = Queue(per_account=64, total=64, room=2)
    large, small = Visit(queue, 1, images=4), Visit(queue, 1)
    await let_everyone_run()
    assert large.inside
    assert not small.inside
    await large.leave()
    await let_everyone_run()
    assert small.inside
    await end([small])


async def test_beyond_an_accounts_bound_nothing_more_is_taken_of_it() -> None:
    queue = Queue(per_account=3, total=64, room=1)
    visits = [Visit(queue, 1) for _ in range(3)]
    await let_everyone_run()
    with pytest.raises(QueueFull, match=r"This account has 3 requests.*again in \d+ s") as error, queue.ticket(1, 1):
        pass
    assert 1 <= error.value.retry_after <= 60
    with queue.ticket(2, 1):
        pass
    await end(visits)
    with queue.ticket(1, 1):
        pass


async def test_beyond_the_servers_bound_nothing_more_is_taken_of_anyone() -> None:
    queue = Queue(per_account=64, total=3, room=1)
    visits = [Visit(queue, account_id) for account_id in range(3)]
    await let_everyone_run()
    with pytest.raises(QueueFull, match="The server has 3 requests"), queue.ticket(9, 1):
        pass
    await visits[0].leave()
    with queue.ticket(9, 1):
        pass
    await end(visits)


async def test_who_stops_waiting_makes_way() -> None:
    queue = Queue(per_account=64, total=64, room=1)
    inside, waiting, behind = (Visit(queue, 1) for _ in range(3))
    await let_everyone_run()
    await end([waiting])
    await inside.leave()
    await let_everyone_run()
    assert behind.inside
    await end([behind])


async def test_who_is_called_and_cancelled_at_once_gives_the_turn_on() -> None:
    queue = Queue(per_account=64, total=64, room=1)
    inside, called, behind = (Visit(queue, 1) for _ in range(3))
    await let_everyone_run()
    inside.left.set()
    while not inside.task.done():
        await asyncio.sleep(0)
    called.task.cancel()  # called, but not yet run
    await let_everyone_run()
    assert not called.inside
    assert behind.inside
    await end([behind])


async def test_an_account_runs_no_more_requests_than_it_may_and_keeps_nobody_waiting() -> None:
    queue = Queue(per_account=64, total=64, room=16)
    busy = [Visit(queue, 1, images, Allowance(running=2)) for images in (3, 1, 1, 1)]
    await let_everyone_run()
    guests = [Visit(queue, 2) for _ in range(3)]
    await let_everyone_run()
    assert [visit.inside for visit in busy] == [True, True, False, False]
    assert all(guest.inside for guest in guests)
    assert queue.waiting == 2
    await busy[1].leave()
    await let_everyone_run()
    assert [visit.inside for visit in busy] == [True, False, True, False]
    await end([*busy, *guests])


async def test_an_account_that_runs_what_it_may_has_its_turn_when_one_of_its_own_leaves() -> None:
    queue = Queue(per_account=64, total=64, room=2)
    first, second = Visit(queue, 1, allowance=Allowance(running=1)), Visit(queue, 1, allowance=Allowance(running=1))
    await let_everyone_run()
    others = [Visit(queue, 2) for _ in range(4)]
    await let_everyone_run()
    assert [visit.inside for visit in (first, second, *others)] == [True, False, True, False, False, False]
    await others[0].leave()
    await let_everyone_run()
    assert [visit.inside for visit in (second, *others)] == [False, False, True, False, False]
    await first.leave()
    await let_everyone_run()
    assert second.inside
    assert not others[2].inside
    await end([second, *others])


@pytest.mark.parametrize("allowed", [1, 5])
async def test_an_accounts_own_bound_goes_before_the_servers(allowed: int) -> None:
    queue = Queue(per_account=3, total=64, room=1)
    own = Allowance(waiting=allowed)
    visits = [Visit(queue, 1, allowance=own) for _ in range(allowed)]
    await let_everyone_run()
    sentence = rf"This account has {allowed} requests waiting or running, and no more than {allowed} are taken"
    with pytest.raises(QueueFull, match=sentence), queue.ticket(1, 1, own):
        pass
    await visits[0].leave()
    with queue.ticket(1, 1, own):
        pass
    await end(visits)


async def test_no_account_has_more_than_the_server_takes_in_all() -> None:
    queue = Queue(per_account=2, total=3, room=1)
    own = Allowance(waiting=99)
    visits = [Visit(queue, 1, allowance=own) for _ in range(3)]
    await let_everyone_run()
    with pytest.raises(QueueFull, match=r"The server has 3 requests.*no more than 3"), queue.ticket(1, 1, own):
        pass
    await end(visits)


async def test_an_allowance_holds_as_it_was_said_last() -> None:
    queue = Queue(per_account=64, total=64, room=8)
    before = [Visit(queue, 1) for _ in range(3)]
    await let_everyone_run()
    less = Allowance(running=2, waiting=4)
    after = Visit(queue, 1, allowance=less)
    await let_everyone_run()
    assert [visit.inside for visit in (*before, after)] == [True, True, True, False]
    sentence = "This account has 4 requests waiting or running, and no more than 3 are taken"
    with pytest.raises(QueueFull, match=sentence), queue.ticket(1, 1, Allowance(running=2, waiting=3)):
        pass
    await before[0].leave()
    await let_everyone_run()
    assert not after.inside
    await before[1].leave()
    await let_everyone_run()
    assert after.inside
    await end([*before, after])


async def test_a_share_is_so_many_turns_for_anothers_one() -> None:
    queue = Queue(per_account=64, total=64, room=1)
    visits = [Visit(queue, 9)] + [Visit(queue, 1, allowance=Allowance(share=3)) for _ in range(9)]
    visits += [Visit(queue, account_id) for account_id in (2, 3) for _ in range(3)]
    assert await turns(visits, 16) == [9] + [1, 1, 1, 2, 3] * 3


async def test_turns_are_not_saved_up() -> None:
    queue = Queue(per_account=64, total=64, room=1)
    share = Allowance(share=3)
    visits = [Visit(queue, 1, allowance=share), Visit(queue, 2), Visit(queue, 2)]
    await let_everyone_run()
    visits += [Visit(queue, 1, allowance=share) for _ in range(4)]
    assert await turns(visits, 7) == [1, 2, 1, 1, 1, 2, 1]


async def test_a_share_is_so_many_times_the_room_that_is_free() -> None:
    queue = Queue(per_account=64, total=128, room=8)
    flood = [Visit(queue, 1, allowance=Allowance(share=3)) for _ in range(20)]
    await let_everyone_run()
    assert sum(visit.inside for visit in flood) == 6
    guest = Visit(queue, 2)
    await let_everyone_run()
    assert guest.inside, "it finds room at once"
    await end([*flood, guest])


@pytest.mark.parametrize(("shares", "parts"), [((1, 1), (1, 1)), ((3, 1), (3, 1)), ((2, 1, 1), (2, 1, 1))])
async def test_accounts_that_send_without_end_are_let_in_by_their_shares(
    shares: tuple[int, ...], parts: tuple[int, ...]
) -> None:
    queue = Queue(per_account=1024, total=4096, room=32)
    allowances = {account_id: Allowance(share=share) for account_id, share in enumerate(shares)}
    visits = [Visit(queue, account_id, allowance=one) for account_id, one in allowances.items() for _ in range(500)]
    had = Counter(await turns(visits, 400))
    for account_id, part in enumerate(parts):
        assert had[account_id] == pytest.approx(400 * part / sum(parts), rel=0.05)
    await end(visits)


async def test_who_stops_waiting_leaves_the_counts_of_its_account_right() -> None:
    queue = Queue(per_account=64, total=64, room=4)
    own = Allowance(running=1, waiting=3)
    inside, called, waiting = (Visit(queue, 1, allowance=own) for _ in range(3))
    await let_everyone_run()
    await end([waiting])
    behind = Visit(queue, 1, allowance=own)
    await let_everyone_run()
    with pytest.raises(QueueFull, match="This account has 3 requests"), queue.ticket(1, 1, own):
        pass
    inside.left.set()
    while not inside.task.done():
        await asyncio.sleep(0)
    called.task.cancel()  # called, but not yet run
    await let_everyone_run()
    assert not called.inside
    assert behind.inside
    await end([behind])


async def test_turns_begin_anew_where_all_that_waits_is_taken_back() -> None:
    queue = Queue(per_account=64, total=64, room=1)
    share = Allowance(share=3)
    first = Visit(queue, 9)
    inside, *waiting = (Visit(queue, 1, allowance=share) for _ in range(3))
    others = [Visit(queue, 2) for _ in range(2)]
    await let_everyone_run()
    await first.leave()
    await let_everyone_run()
    assert inside.inside
    await end(waiting)
    again = [Visit(queue, 1, allowance=share) for _ in range(4)]
    assert await turns([inside, *others, *again], 7) == [1, 2, 1, 1, 1, 2, 1]


ALLOWANCES = st.builds(Allowance, running=st.none() | st.integers(1, 3), share=st.integers(1, 3))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=30),
    st.lists(st.tuples(st.booleans(), st.integers(0, 29)), max_size=40),
    st.fixed_dictionaries({account_id: st.just(ALL) | ALLOWANCES for account_id in (1, 2, 3)}),
)
def test_the_room_is_never_overfull_and_everyone_has_a_turn(
    requests: list[tuple[int, int]], happenings: list[tuple[bool, int]], allowances: Mapping[int, Allowance]
) -> None:
    async def go() -> None:
        queue = Queue(per_account=64, total=64, room=4)
        visits = [Visit(queue, account_id, images, allowances[account_id]) for account_id, images in requests]
        for cancels, number in happenings:
            await asyncio.sleep(0)
            visit = visits[number % len(visits)] if visits else None
            if visit and cancels:
                visit.task.cancel()
            elif visit:
                visit.left.set()
            inside = [visit.images for visit in visits if visit.inside]
            assert sum(inside) <= 4 or len(inside) == 1
            running = Counter(visit.account_id for visit in visits if visit.inside)
            assert all(count <= (allowances[one].running or 4) for one, count in running.items())
        for visit in visits:
            visit.left.set()
        async with asyncio.timeout(5):
            for visit in visits:
                with suppress(asyncio.CancelledError):
                    await visit.task
            assert queue.waiting == 0
            whole = Visit(queue, 1, images=4, allowance=Allowance(running=1, waiting=1))
            await let_everyone_run()
            assert whole.inside
            await whole.leave()

    asyncio.run(go())
