"""Mixed traffic through the running batch, simulated: who waits how long, and whom a flood of requests hurts.

60 % of the requests take 25 steps with guidance, 20 % 12 steps of a start image, 20 % are drafts of 6 steps without
guidance. They come at random (Poisson) from eight accounts alike, at three loads: parts of what the device can do in
calls of the size that costs the least. Three orders share traffic, server's queue and table of costs: the engine's own
(shortest first), first come first served in calls of the same size, and one at a time as plain pipelines are served.

Goals, for the engine against first come first served: drafts' p99 at least 10 times better; p99 of 25 steps at most 1.3
times worse; nobody waits longer than the queue's capacity bounds; and an account that floods moves the p95 of the other
seven's requests by at most 1.5 times. For this one account sends ten times its share, of which the queue takes what it
allows an account, while the other seven send just what they did; compared are their requests alone, with and without.

No network runs. The figures hang on what a call costs on a device, which is stated below, as far as may be as measured.
"""

import argparse
import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.latency_picture import Bar, draw
from benchmarks.report import report
from benchmarks.simulated_engine import PER_ACCOUNT, Choice, Device, Kind, Request, SimulatedEngine, arrivals
from gesso.engine.choose import SLOWDOWN, TURN, Candidate, Chooser
from gesso.engine.costs import Costs

# Seconds, by rows of a call: full-size SDXL in bfloat16 on an H200, as RESULTS.md has it, where a device is full at one
# image and sharing a call hardly pays, and where it pays 1.7 times. (16 rows at 1024x1024, start images, texts and the
# decoding at 512x512 are not measured but stated.)
DEVICES = (
    Device("1024x1024", {2: 0.0321, 4: 0.0602, 8: 0.120, 16: 0.240}, text=0.012, start_image=0.020, decode=0.0356),
    Device("512x512", {2: 0.0123, 4: 0.0179, 8: 0.0302, 16: 0.0563}, text=0.012, start_image=0.006, decode=0.010),
)
LONG = Kind("25 steps", share=0.6, steps=25, rows=2)
EDIT = Kind("12-step edits", share=0.2, steps=12, rows=2, has_start_image=True)
DRAFT = Kind("6-step drafts", share=0.2, steps=6, rows=1)
KINDS = (LONG, EDIT, DRAFT)
LOADS = (0.80, 0.90, 0.95)
ACCOUNTS = range(8)
FLOOD = 10
REQUESTS, SEEDS = 2000, (1, 2, 3, 4)
WARM_UP = 200
"""Requests at the beginning of a run that are not counted: the queue is still filling, and the table of costs."""


class FirstCome:
    """First come, first served; whoever came next and finds room shares the call, or is encoded so that it can."""

    def __init__(self) -> None:
        self._has_encoded = False

    def choose(self, candidates: Sequence[Candidate], costs: Costs) -> list[int]:
        order = sorted(range(len(candidates)), key=lambda place: -candidates[place].waited)
        first, company = candidates[order[0]], order[:1]
        if first.work != "denoise":
            return company
        room = costs.cap(first.key) - first.rows
        for place in order[1:]:
            if candidates[place].key == first.key and candidates[place].rows <= room:
                company.append(place)
                room -= candidates[place].rows
        encodes = [place for place in company if candidates[place].work == "encode"]
        self._has_encoded = bool(encodes) and not self._has_encoded
        return encodes[:1] if self._has_encoded else [place for place in company if place not in encodes]

    def served(self, account: int, seconds: float) -> None:
        """Whose it is makes no difference."""


class OneAtATime(FirstCome):
    """First come, first served, and nobody shares a call."""

    def choose(self, candidates: Sequence[Candidate], costs: Costs) -> list[int]:
        return [max(range(len(candidates)), key=lambda place: candidates[place].waited)]


ORDERS: Mapping[str, Callable[[], Choice]] = {
    "shortest first": Chooser,
    "first come": FirstCome,
    "one at a time": OneAtATime,
}


class Outcome:
    """What became of the same traffic with several seeds, under one order."""

    def __init__(self, device: Device, order: str, load: float, flood: int = 1) -> None:
        share = device.capacity(KINDS) * load / len(ACCOUNTS)
        rates = {account: share * (1 if account else flood) for account in ACCOUNTS}
        count = int(REQUESTS * sum(rates.values()) / (share * len(ACCOUNTS)))
        seeds = SEEDS if order != "one at a time" else SEEDS[:1]  # it takes many more calls
        self.sent, self.refused = count * len(seeds), 0
        self.done: list[Request] = []
        for seed in seeds:
            engine = SimulatedEngine(device, ORDERS[order](), random.Random(seed))
            self.done += asyncio.run(engine.run(arrivals(device, KINDS, rates, count, seed)))[WARM_UP:]
            self.refused += engine.refused

    def of(self, kind: Kind) -> list[float]:
        """Seconds that requests of this kind took."""
        return [request.seconds for request in self.done if request.kind is kind]

    def of_others(self) -> list[float]:
        """Seconds that the requests of those took who never flood."""
        return [request.seconds for request in self.done if request.account]


def percentile(seconds: Sequence[float], part: int) -> float:
    return sorted(seconds)[math.ceil(len(seconds) * part / 100) - 1]


def bound(device: Device) -> float:
    """Seconds that nobody waits for longer: until it is late, then its turns beside all that the queue may hold."""
    longest = max(map(device.alone, KINDS))
    return (SLOWDOWN + TURN * PER_ACCOUNT * len(ACCOUNTS)) * longest


def compare(device: Device, load: float) -> tuple[list[dict[str, object]], list[Bar]]:
    """Rows of the report and bars of the picture, for each order."""
    outcomes = {order: Outcome(device, order, load) for order in ORDERS}
    ours, line = outcomes["shortest first"], outcomes["first come"]
    flooded = percentile(Outcome(device, "shortest first", load, FLOOD).of_others(), 95)
    verdicts = {
        "drafts' p99 better": percentile(line.of(DRAFT), 99) / percentile(ours.of(DRAFT), 99),
        "25 steps' p99 worse": percentile(ours.of(LONG), 99) / percentile(line.of(LONG), 99),
        "others' p95 in a flood": flooded / percentile(ours.of_others(), 95),
    }
    rows: list[dict[str, object]] = [
        {"size": device.name, "load": f"{load:.0%}", "order": order}
        | {f"{kind.name}, p50 / p99 s": _pair(outcome.of(kind)) for kind in KINDS}
        | {"longest, s": max(request.seconds for request in outcome.done), "refused": _part(outcome)}
        | {"bound, s": round(bound(device)) if outcome is ours else "-"}
        | {name: round(ratio, 2) if outcome is ours else "-" for name, ratio in verdicts.items()}
        for order, outcome in outcomes.items()
    ]
    bars = [
        Bar(device.name, kind.name, order, percentile(seconds, 50), percentile(seconds, 99), device.alone(kind))
        for kind in KINDS
        for order, outcome in outcomes.items()
        if (seconds := outcome.of(kind))
    ]
    return rows, bars


def _pair(seconds: Sequence[float]) -> str:
    return f"{percentile(seconds, 50):.2f} / {percentile(seconds, 99):.2f}"


def _part(outcome: Outcome) -> str:
    return f"{outcome.refused / outcome.sent:.0%}"


def main() -> None:
    """All loads on both devices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="where to write a picture of the 90 % load (PNG)")
    picture = parser.parse_args().plot
    results = {(device.name, load): compare(device, load) for device in DEVICES for load in LOADS}
    if picture is not None:
        draw([bar for device in DEVICES for bar in results[device.name, 0.90][1]], picture)
    report(
        "Mixed traffic, simulated: shortest first against first come",
        [row for rows, _ in results.values() for row in rows],
    )


if __name__ == "__main__":
    main()
