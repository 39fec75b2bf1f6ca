"""The engine without its networks: units of work take the seconds that a device is said to need for them.

What is real is what decides: the server's queue, the chooser, and the table of costs, which is fed by what each unit
took. Units are those of the running batch: a slice of an encoding, one UNet call, one decoding. Seconds are simulated.
"""

import asyncio
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from gesso.engine.choose import Candidate, Work
from gesso.engine.costs import Costs
from gesso.engine.loop import ROWS_AT_ONCE, SLICE
from gesso.errors import QueueFull
from gesso.jobs.queue import Queue
from gesso.settings import Settings

PER_ACCOUNT: Final[int] = Settings.model_fields["queue_per_account"].default
IN_ALL: Final[int] = Settings.model_fields["queue_total"].default
NOISE = 0.03
"""Deviation of what a unit takes from what it should, as a part of that."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one kind: `share` of all; an image's `rows` of a call."""

    name: str
    share: float
    steps: int
    rows: int
    has_start_image: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """Seconds: `calls` maps rows of a UNet call to what it takes; between these sizes it lies on a line."""

    name: str
    calls: Mapping[int, float]
    text: float
    start_image: float
    decode: float

    def call(self, rows: int) -> float:
        """A call has an even number of rows: one of an odd number takes its last row twice."""
        even = rows + rows % 2
        sizes = sorted(self.calls)
        right = min(max(bisect_left(sizes, even), 1), len(sizes) - 1)
        fewer, more = sizes[right - 1 : right + 1]
        return self.calls[fewer] + (self.calls[more] - self.calls[fewer]) * (even - fewer) / (more - fewer)

    def encode(self, kind: Kind) -> float:
        return self.text + self.start_image * kind.has_start_image

    def alone(self, kind: Kind) -> float:
        """What a request of this kind takes by itself."""
        return self.encode(kind) + kind.steps * self.call(kind.rows) + self.decode

    def capacity(self, kinds: Sequence[Kind]) -> float:
        """Requests a second, at most: every call of the size that costs the least per row."""
        row = min(self.call(rows) / rows for rows in range(2, ROWS_AT_ONCE + 1))
        each = (kind.share * (self.encode(kind) + kind.steps * (kind.rows * row) + self.decode) for kind in kinds)
        return 1 / sum(each)


class Choice(Protocol):
    """What decides: the engine's own chooser, or another to compare it with."""

    def choose(self, candidates: Sequence[Candidate], costs: Costs) -> list[int]: ...

    def served(self, account: int, seconds: float) -> None: ...


@dataclass(slots=True, eq=False)
class Request:
    """One image; seconds of the simulation. `unencoded` seconds and `steps` are what is left of it."""

    kind: Kind
    account: int
    came: float
    unencoded: float
    steps: int
    submitted: float = 0.0
    spent: float = 0.0
    done: float = 0.0
    painted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def work(self) -> Work:
        return "encode" if self.unencoded > 0 else "denoise" if self.steps else "decode"

    @property
    def seconds(self) -> float:
        """From its arrival to its picture."""
        return self.done - self.came


def arrivals(device: Device, kinds: Sequence[Kind], rates: Mapping[int, float], count: int, seed: int) -> list[Request]:
    """Poisson arrivals of accounts, which send `rates` requests a second."""
    chance = random.Random(seed)
    now, requests = 0.0, []
    for _ in range(count):
        now += chance.expovariate(sum(rates.values()))
        (account,) = chance.choices([*rates], [*rates.values()])
        (kind,) = chance.choices(kinds, [kind.share for kind in kinds])
        requests.append(Request(kind, account, now, device.encode(kind), kind.steps))
    return requests


@dataclass(slots=True)
class SimulatedEngine:
    """Runs requests on a device."""

    device: Device
    choice: Choice
    chance: random.Random
    queue: Queue = field(default_factory=lambda: Queue(PER_ACCOUNT, IN_ALL))
    costs: Costs = field(default_factory=lambda: Costs(ROWS_AT_ONCE))
    now: float = 0.0
    held: list[Request] = field(default_factory=list)
    done: list[Request] = field(default_factory=list)
    refused: int = 0

    async def run(self, requests: Sequence[Request]) -> list[Request]:
        """Those that were not refused, as they were done; `requests` are in the order of their arrival."""
        coming = deque(requests)
        async with asyncio.TaskGroup() as server:
            while coming or self.held:
                if not self.held:
                    self.now = max(self.now, coming[0].came)
                while coming and coming[0].came <= self.now:
                    server.create_task(self._serve(coming.popleft()))
                await _everybody_has_moved()
                if self.held:
                    self._unit()
        return self.done

    async def _serve(self, request: Request) -> None:
        """What the server does for a request."""
        try:
            with self.queue.ticket(request.account, 1) as ticket:
                async with ticket.turn():
                    request.submitted = self.now
                    self.held.append(request)
                    await request.painted.wait()
        except QueueFull:
            self.refused += 1

    def _unit(self) -> None:
        candidates = self._candidates()
        chosen = [self.held[place] for place in self.choice.choose(candidates, self.costs)]
        rows = sum(request.kind.rows for request in chosen)
        seconds = self._seconds(chosen[0], rows) * max(0.5, self.chance.gauss(1, NOISE))
        work = chosen[0].work
        self.now += seconds
        if work != "encode":
            self.costs.measured(work, rows if work == "denoise" else 1, seconds)
        for request in chosen:
            self.choice.served(request.account, seconds * request.kind.rows / rows)
            self._advance(request, work, seconds)

    def _candidates(self) -> list[Candidate]:
        """As the running batch makes them."""
        decode = self.costs.seconds("decode", 1)
        row = {rows: self.costs.seconds("denoise", rows) for rows in (1, 2)}
        candidates = []
        for request in self.held:
            kind, work = request.kind, request.work
            encode = self.costs.seconds(("encode", kind.has_start_image), 1)
            total = encode + kind.steps * row[kind.rows] + decode
            remaining = total if work == "encode" else request.steps * row[kind.rows] + decode
            key, rows = ("decode", 1) if work == "decode" else ("denoise", kind.rows)
            candidates.append(
                Candidate(work, key, request.account, rows, remaining, total, self.now - request.submitted)
            )
        return candidates

    def _seconds(self, first: Request, rows: int) -> float:
        if first.work == "encode":
            return min(SLICE, first.unencoded)
        return self.device.call(rows) if first.work == "denoise" else self.device.decode

    def _advance(self, request: Request, work: Work, seconds: float) -> None:
        if work == "encode":
            request.unencoded -= SLICE
            request.spent += seconds
            if request.unencoded <= 0:
                self.costs.measured(("encode", request.kind.has_start_image), 1, request.spent)
        elif work == "denoise":
            request.steps -= 1
        else:
            request.done = self.now
            self.held.remove(request)
            self.done.append(request)
            request.painted.set()


async def _everybody_has_moved() -> None:
    """Who was painted has left the queue, and whoever was called in its stead is in the engine."""
    for _ in range(4):
        await asyncio.sleep(0)
