"""G3: mixed traffic through HTTP, Gesso against FastAPI around diffusers (`benchmarks.plain_server`), side by side.

20 % of the requests are drafts (6 steps of a start image, without guidance: the endpoints that paint from words alone
take 20 at least), 20 % edits (12 steps of a start image), 45 % pictures of 25 steps and 15 % large ones of 30; all five
endpoints, four schedulers, several sizes, the refiner as `sdxl1.0-txt2img` has it unasked, all words new. All come
from one account, which Gesso lets have half of its engine's room. Both servers have the same weights in bfloat16, and
get the same bodies at the same times.

First everything is asked at once: what the plain server does then a second is its capacity. Then requests come at
random (Poisson) at a part of that (`--load`; 0.8, and beyond 1 what it cannot keep up with). Seconds count from when a
request was to come until its picture is there, whoever was late. Goals: drafts' p99 at least 5 times better, and 1.2
times the requests a second when all are asked at once.

On a CPU each side first tries one thread for every two cores against one for each, and has what was quicker for it;
`--quick`, which is over in about a minute, gives both the former. `--full-size` writes a checkpoint of SDXL's full size
and its refiner with random weights (13 GB in --folder; each endpoint has a name of its own for it, so that nobody
shares networks between endpoints), for a GPU; `--small` beside it takes networks of next to no size.
"""

import argparse
import asyncio
import base64
import io
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Final

import httpx2
import torch
from PIL import Image

from benchmarks.full_checkpoints import SMALL_REFINER
from benchmarks.full_size import SMALL, write_full_size
from benchmarks.latency_picture import Bar, Caption, draw
from benchmarks.lone_pipeline import NEGATIVE
from benchmarks.mixed_traffic import percentile
from benchmarks.report import met, report
from benchmarks.server import KEY, serving
from gesso.sdxl.architecture import SDXL_BASE, SDXL_REFINER, Architecture

DRAFTS_GOAL, RATE_GOAL = 5.0, 1.2
SCHEDULERS = ("UniPC", "Euler a", "DPM Multi", "DDIM")
WORDS, IMAGE = ("sdxl1.0-txt2img", "sdxl1.0-timeless", "sdxl1.0-dreamshaper", "sdxl1.0-realvis"), "sdxl-img2img"
BASE_MODELS = ("juggernaut", "realvis")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "white", "black")
THINGS = ("heart", "star", "circle", "triangle", "house", "tree", "fish", "boat")
WARMING, LONE, TRIED = 16, 12, 12
"""Requests that warm a server up, are asked one after another, and tell settings of threads apart."""
QUICKLY: Final = 4
"""As many instead, where it is to be quick."""


Sizes = tuple[tuple[int, int], ...]
"""Widths and heights in pixels."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one kind, `share` of all; with a `strength` from a start image, and that part of `steps` is run."""

    name: str
    share: float
    steps: int
    guidance_scale: float
    sizes: Sizes
    strength: float | None = None


SIZES: dict[str, tuple[Sizes, Sizes, Sizes]] = {
    "embedded": (((512, 512),), ((512, 512), (640, 512)), ((896, 1152),)),
    "full size": (((1024, 1024),), ((1024, 1024), (896, 1152)), ((1536, 1024),)),
    "small": (((512, 512),), ((512, 512),), ((512, 512),)),
}
"""Of drafts, of edits and pictures, and of large ones, by the networks that paint them."""


def kinds(networks: str) -> tuple[Kind, ...]:
    """The mixture in the sizes of these networks, the shortest first."""
    usual, either, large = SIZES[networks]
    return (
        Kind("drafts", 0.20, steps=20, guidance_scale=1.0, sizes=usual, strength=0.3),
        Kind("edits", 0.20, steps=20, guidance_scale=6.5, sizes=either, strength=0.6),
        Kind("pictures", 0.45, steps=25, guidance_scale=7.0, sizes=either),
        Kind("large", 0.15, steps=30, guidance_scale=7.0, sizes=large),
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its address, and its body as it is sent."""

    kind: Kind
    path: str
    body: bytes


def traffic(mixture: Sequence[Kind], count: int, seed: int) -> list[Asked]:
    """About so many requests, of every kind its share and one at least. Other seeds ask for other words."""
    dice = random.Random(seed)
    drawn = [kind for kind in mixture for _ in range(max(round(kind.share * count), 1))]
    dice.shuffle(drawn)
    return [_asked(kind, f"number {number} of {seed}", dice) for number, kind in enumerate(drawn)]


def _asked(kind: Kind, unheard: str, dice: random.Random) -> Asked:
    words = f"a {dice.choice(COLOURS)} {dice.choice(THINGS)} on a {dice.choice(COLOURS)} background, {unheard}"
    width, height = dice.choice(kind.sizes)
    body: dict[str, object] = {
        "prompt": words,
        "negative_prompt": NEGATIVE,
        "seed": dice.randrange(2**31),
        "scheduler": dice.choice(SCHEDULERS),
        "num_inference_steps": kind.steps,
        "guidance_scale": kind.guidance_scale,
    }
    if kind.strength is None:
        slug = dice.choice(WORDS)
        body |= {"img_width": width, "img_height": height}
    else:
        slug = IMAGE
        body |= {
            "image": _start_image(width, height),
            "strength": kind.strength,
            "base_model": dice.choice(BASE_MODELS),
        }
    return Asked(kind, f"/v1/{slug}", json.dumps(body).encode())


def _start_image(width: int, height: int) -> str:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def arrivals(count: int, rate: float, seed: int) -> list[float]:
    """Seconds from the beginning at which so many requests come, at random, so many a second."""
    dice = random.Random(seed)
    return list(accumulate(dice.expovariate(rate) for _ in range(count)))


@dataclass(frozen=True, slots=True)
class Answer:
    """A picture that came `seconds` after its request was to come, which was sent `late`."""

    kind: Kind
    seconds: float
    late: float


def ask(url: str, asked: Sequence[Asked], times: Sequence[float] | None = None) -> list[Answer]:
    """Ask for all, each at its time (seconds from now), whether or not others are answered; by default at once."""
    return asyncio.run(_ask(url, asked, times or [0.0] * len(asked)))


async def _ask(url: str, asked: Sequence[Asked], times: Sequence[float]) -> list[Answer]:
    headers = {"x-api-key": KEY, "accept": "image/png", "content-type": "application/json"}
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=None, limits=limits) as client:
        clock = asyncio.get_running_loop().time
        began = clock()

        async def one(one: Asked, at: float) -> Answer:
            await asyncio.sleep(began + at - clock())
            late = clock() - began - at
            reply = await client.post(one.path, content=one.body)
            assert reply.status_code == 200, reply.text
            return Answer(one.kind, clock() - began - at, late)

        return await asyncio.gather(*map(one, asked, times))


@dataclass(frozen=True, slots=True)
class Weights:
    """What both servers paint with, as Gesso's settings `catalogue_file` and `models_dir`: by default the embedded
    family."""

    catalogue: Path | None = None
    models: Path = Path()


def write_random(folder: Path, base: Architecture, refiner: Architecture) -> Weights:
    """A base and a refiner of these shapes, the base under as many names as there are endpoints."""
    written = {"base": base, "refiner": refiner}
    # In a process of its own, whose memory is free again afterwards.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        for name, shape in written.items():
            apart.submit(write_full_size, folder / f"{name}.safetensors", shape).result()
    bindings = {slug: slug for slug in WORDS} | {"sdxl1.0-txt2img/refiner": "refiner", f"{IMAGE}/realvis": WORDS[-1]}
    bindings |= {f"{IMAGE}/{model}": IMAGE for model in ("juggernaut", "protovision", "yamers_realistic")}
    lines = ["[bindings]", *(f'"{name}" = "{id}"' for name, id in bindings.items())]
    for id in (*WORDS, IMAGE):
        os.link(folder / "base.safetensors", folder / f"{id}.safetensors")
    for id in (*WORDS, IMAGE, "refiner"):
        kind = "refiner" if id == "refiner" else "base"
        lines += ["[[checkpoint]]", f'id = "{id}"', f'title = "{id}"', f'kind = "{kind}"', 'family = "random"']
        lines += [f'file = "{id}.safetensors"']
    catalogue = folder / "catalogue.toml"
    catalogue.write_text("\n".join(lines))
    return Weights(catalogue, folder)


Side = Callable[[Weights, int | None], AbstractContextManager[str]]
"""A server's address while it runs, with so many threads; by default as it chooses."""


@contextmanager
def gesso(weights: Weights, threads: int | None) -> Iterator[str]:
    """Gesso, whose queue has room for all of a run."""
    own: dict[str, object] = {
        "request_timeout": 3600,
        "loading_patience": 600,
        "queue_per_account": 10_000,
        "queue_total": 10_000,
    }
    if threads is not None:
        own |= {"threads": threads}
    if weights.catalogue is not None:
        own |= {"catalogue_file": weights.catalogue, "models_dir": weights.models}
    with tempfile.TemporaryDirectory() as folder, serving(folder, precision="bfloat16", **own) as url:
        yield url


@contextmanager
def plain_server(weights: Weights, threads: int | None) -> Iterator[str]:
    """FastAPI around diffusers."""
    command = [sys.executable, "-m", "benchmarks.plain_server", "--models", str(weights.models)]
    command += [] if weights.catalogue is None else ["--catalogue", str(weights.catalogue)]
    own = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            assert url, "the plain server did not start"
            yield url
        finally:
            server.kill()  # asked to stop it would first paint all that it has queued


SIDES: dict[str, Side] = {"plain server": plain_server, "Gesso": gesso}


@dataclass(frozen=True, slots=True)
class Measured:
    """One side: its threads, median seconds of a lone request of each kind, requests a second when all are asked at
    once, and its answers under each load."""

    threads: int | None
    alone: dict[Kind, float]
    rate: float
    under: dict[float, list[Answer]] = field(default_factory=dict)

    def of(self, kind: Kind, load: float) -> list[float]:
        """Seconds that requests of this kind took under this load."""
        return [answer.seconds for answer in self.under[load] if answer.kind is kind]


@dataclass(frozen=True, slots=True)
class Course:
    """What every side goes through."""

    weights: Weights
    mixture: tuple[Kind, ...]
    requests: int
    loads: tuple[float, ...]
    quick: bool

    def measure(self, side: Side, capacity: float | None = None) -> Measured:
        """One side. Loads are parts of `capacity`, requests a second; by default of its own."""
        threads = self._threads(side)
        with side(self.weights, threads) as url:
            self._warm(url)
            lone = traffic(self.mixture, QUICKLY if self.quick else LONE, seed=2)
            answers = [ask(url, [asked])[0] for asked in lone]
            alone = {
                kind: statistics.median(answer.seconds for answer in answers if answer.kind is kind)
                for kind in self.mixture
            }
            measured = Measured(threads, alone, _rate(url, traffic(self.mixture, self.requests, seed=3)))
            for load in self.loads:
                asked = traffic(self.mixture, self.requests, seed=4 + self.loads.index(load))
                times = arrivals(len(asked), load * (capacity or measured.rate), seed=5)
                measured.under[load] = ask(url, asked, times)
        return measured

    def _threads(self, side: Side) -> int | None:
        """The quicker of both settings; none on a GPU, where they matter little."""
        cores = os.cpu_count() or 1
        fewer, more = max(cores // 2, 1), cores
        if torch.cuda.is_available():
            return None
        if self.quick or fewer == more:
            return fewer
        rates = {}
        for threads in (fewer, more):
            with side(self.weights, threads) as url:
                ask(url, traffic(self.mixture, TRIED, seed=0))
                rates[threads] = _rate(url, traffic(self.mixture, TRIED, seed=6))
        return max(rates, key=lambda threads: rates[threads])

    def _warm(self, url: str) -> None:
        """Bring in checkpoints and sizes; what a server does at their second coming alone is done then, too."""
        for seed in (0,) if self.quick else (0, 1):
            ask(url, traffic(self.mixture, QUICKLY if self.quick else WARMING, seed))


def _rate(url: str, asked: Sequence[Asked]) -> float:
    """Requests a second when all are asked at once."""
    return len(asked) / max(answer.seconds for answer in ask(url, asked))


def latency_rows(course: Course, ours: Measured, theirs: Measured) -> list[dict[str, object]]:
    """Of every load and kind."""
    rows: list[dict[str, object]] = []
    for load in course.loads:
        for number, kind in enumerate(course.mixture):
            better = percentile(theirs.of(kind, load), 99) / percentile(ours.of(kind, load), 99)
            rows.append(
                {
                    "load": f"{load:.0%}",
                    "kind": kind.name,
                    "requests": len(ours.of(kind, load)),
                    "Gesso alone, s": ours.alone[kind],
                    "p50 / p95 / p99, s": _percentiles(ours.of(kind, load)),
                    "plain server alone, s": theirs.alone[kind],
                    "its p50 / p95 / p99, s": _percentiles(theirs.of(kind, load)),
                    "p99 times better": better,
                    "goal": "-" if number else DRAFTS_GOAL,
                    "met": "-" if number else met(better >= DRAFTS_GOAL),
                }
            )
    return rows


def _percentiles(seconds: Sequence[float]) -> str:
    return " / ".join(f"{percentile(seconds, part):.2f}" for part in (50, 95, 99))


def rate_row(course: Course, ours: Measured, theirs: Measured) -> dict[str, object]:
    """Of all requests at once; and how late any was sent, which is to be next to nothing."""
    late = max(answer.late for one in (ours, theirs) for answers in one.under.values() for answer in answers)
    return {
        "requests at once": len(ours.under[course.loads[0]]),
        "Gesso, a second": ours.rate,
        "threads": ours.threads or "-",
        "plain server, a second": theirs.rate,
        "its threads": theirs.threads or "-",
        "times as many": ours.rate / theirs.rate,
        "goal": RATE_GOAL,
        "met": met(ours.rate / theirs.rate >= RATE_GOAL),
        "sent late by at most, ms": round(1000 * late, 1),
    }


def bars(course: Course, ours: Measured, theirs: Measured) -> list[Bar]:
    """A panel for each load; the lone request is the plain server's."""
    return [
        Bar(
            f"{100 * load:.0f} % of what the plain server can do",
            kind.name,
            name,
            percentile(one.of(kind, load), 50),
            percentile(one.of(kind, load), 99),
            theirs.alone[kind],
        )
        for load in course.loads
        for kind in course.mixture
        for name, one in (("Gesso", ours), ("plain server", theirs))
    ]


def caption(networks: str) -> Caption:
    """What the picture says of itself."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    what = "the embedded model" if networks == "embedded" else f"SDXL of {networks}, random weights"
    return Caption(
        "Short requests do not wait behind long ones",
        f"Seconds that requests take over HTTP: 20 % drafts, 20 % edits, 60 % pictures; {what}, {where}.",
        "A bar goes from the median to the 99th percentile, which is written; the line is a lone request at the "
        "plain server.",
    )


def main() -> None:
    """Both sides, one after the other, the plain server first: its capacity says what both are offered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, help="of a run; by default 100, with --quick 8")
    parser.add_argument("--load", type=float, nargs="+", default=[0.8], help="parts of the plain server's capacity")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full-size", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", type=Path, help="where there is room; by default a temporary one")
    parser.add_argument("--plot", type=Path, help="draw the latencies into this PNG")
    options = parser.parse_args()
    networks = ("small" if options.small else "full size") if options.full_size else "embedded"
    count = options.requests or (8 if options.quick else 100)
    shapes = (SMALL, SMALL_REFINER) if options.small else (SDXL_BASE, SDXL_REFINER)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        weights = write_random(Path(folder), *shapes) if options.full_size else Weights()
        course = Course(weights, kinds(networks), count, tuple(options.load), options.quick)
        theirs = course.measure(SIDES["plain server"])
        ours = course.measure(SIDES["Gesso"], theirs.rate)
    if options.plot:
        draw(bars(course, ours, theirs), options.plot, caption(networks))
    report("G3 mixed traffic, served: seconds that requests take", latency_rows(course, ours, theirs))
    report("G3 mixed traffic, served: requests a second", [rate_row(course, ours, theirs)])


if __name__ == "__main__":
    main()
