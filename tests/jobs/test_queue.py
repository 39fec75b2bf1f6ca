import asyncio
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gesso.errors import QueueFull
from gesso.jobs.queue import Queue


async def let_everyone_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Visit:
    """A request that stays in the engine until it is told to leave."""

    def __init__(self, queue: Queue, account_id: int, images: int = 1) -> None:
        self.inside = False
        self.left = asyncio.Event()
        self.images = images
        self.task = asyncio.create_task(self._go(queue, account_id))

    async def _go(self, queue: Queue, account_id: int) -> None:
        with queue.ticket(account_id, self.images) as ticket:
            async with ticket.turn():
                self.inside = True
                try:
                    await self.left.wait()
                finally:
                    self.inside = False

    async def leave(self) -> None:
        self.left.set()
        await self.task


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


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=30),
    st.lists(st.tuples(st.booleans(), st.integers(0, 29)), max_size=40),
)
def test_the_room_is_never_overfull_and_everyone_has_a_turn(
    requests: list[tuple[int, int]], happenings: list[tuple[bool, int]]
) -> None:
    async def go() -> None:
        queue = Queue(per_account=64, total=64, room=4)
        visits = [Visit(queue, account_id, images) for account_id, images in requests]
        for cancels, number in happenings:
            await asyncio.sleep(0)
            visit = visits[number % len(visits)] if visits else None
            if visit and cancels:
                visit.task.cancel()
            elif visit:
                visit.left.set()
            inside = [visit.images for visit in visits if visit.inside]
            assert sum(inside) <= 4 or len(inside) == 1
        for visit in visits:
            visit.left.set()
        async with asyncio.timeout(5):
            for visit in visits:
                with suppress(asyncio.CancelledError):
                    await visit.task

    asyncio.run(go())
