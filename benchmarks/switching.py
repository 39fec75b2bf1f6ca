"""Many checkpoints on little memory: the embedded family's base and six looks in turn, by all five endpoints, at a
server with room for two.

Goals: every picture has the bytes that it has at a server with room for all, the engine's memory stays within 5 % while
100 networks come from the disk under load and as many leave, and where all are resident, requests to all in turn are
served at 0.9 times the rate of the same requests, by the same endpoints, to one checkpoint, or more.

Servers are one's own, their engines with one thread, which leaves a core to whatever else a server does; asked over
HTTP by 8 clients at once, for rates by 32. `--plot FILE` draws the memory; `--quick` is over after 12.
"""

import argparse
import base64
import io
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import psutil
from PIL import Image

from benchmarks.memory_picture import draw
from benchmarks.report import met, report
from benchmarks.server import KEY, serving

TEXT_SLUGS = {
    "base": "sdxl1.0-txt2img",
    "timeless": "sdxl1.0-timeless",
    "dreamshaper": "sdxl1.0-dreamshaper",
    "realvis": "sdxl1.0-realvis",
}
LOOKS = (*TEXT_SLUGS, "juggernaut", "protovision", "yamers_realistic")
ANYWHERE = "realvis"
"""The one that two endpoints have."""
ROOM_FOR_TWO = 36_000_000
"""Bytes: encoders, VAE and two UNets of the embedded family in bfloat16, and what requests hold."""

AT_ONCE, MANY_AT_ONCE = 8, 32
"""Clients; the more, the nearer an engine comes to the most that it can do."""
SEEDS = 3
FLAT = 0.05
PROMPT = "a red heart on a blue background"


@dataclass
class Watch:
    """The resident memory of an engine's process, in bytes, every tenth of a second from the beginning."""

    bytes: list[int] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        engine, over = _engine(), threading.Event()

        def look() -> None:
            while not over.wait(0.1):
                self.bytes.append(engine.memory_info().rss)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @property
    def drift(self) -> float:
        """How much more the last fifth takes than the second, as a share: in the first, caches still fill."""
        fifth = len(self.bytes) // 5
        return statistics.fmean(self.bytes[-fifth:]) / statistics.fmean(self.bytes[fifth : 2 * fifth]) - 1


def _engine() -> psutil.Process:
    """The one engine's process among this one's descendants."""
    descendants = psutil.Process().children(recursive=True)
    (engine,) = (one for one in descendants if "gesso.engine.worker" in one.cmdline())
    return engine


def _start_image() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (512, 512), "#808080").save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


SIZE: dict[str, object] = {"img_width": 512, "img_height": 512}
START: dict[str, object] = {"image": _start_image(), "strength": 1.0}


@dataclass(frozen=True)
class Wish:
    """A picture in a look; from text alone, or from plain grey of which nothing is to stay."""

    look: str
    seed: int
    from_text: bool

    def of(self, look: str) -> "Wish":
        """The same work for another checkpoint."""
        return replace(self, look=look)


EVERY = [Wish(look, seed, from_text=look in TEXT_SLUGS) for look in LOOKS for seed in range(SEEDS)]


def paint(client: httpx2.Client, wish: Wish) -> bytes:
    """A picture, by the endpoint that has it."""
    body: dict[str, object] = {"prompt": PROMPT, "seed": wish.seed, "num_inference_steps": 20, "scheduler": "UniPC"}
    if wish.from_text:
        slug, more = TEXT_SLUGS[wish.look], SIZE | ({"refiner": False} if wish.look == "base" else {})
    else:
        slug, more = "sdxl-img2img", START | {"base_model": wish.look}
    reply = client.post(f"/v1/{slug}", json=body | more)
    assert reply.status_code == 200, reply.text
    return reply.content


def paint_all(client: httpx2.Client, asked: Sequence[Wish], at_once: int = AT_ONCE) -> tuple[list[bytes], float]:
    """Pictures by several clients at once, and the seconds for all."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        pictures = list(pool.map(lambda wish: paint(client, wish), asked))
    return pictures, time.monotonic() - began


@contextmanager
def client_of(**settings: object) -> Iterator[httpx2.Client]:
    """Of a server with these settings, beside a folder of its own."""
    headers = {"x-api-key": KEY, "accept": "image/png"}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(folder, **settings) as url,
        httpx2.Client(base_url=url, headers=headers, timeout=300) as client,
    ):
        yield client


def loads_at(client: httpx2.Client) -> int:
    """Networks that the engine has brought from the disk."""
    lines = client.get("/metrics", headers={"accept": "text/plain"}).text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("gesso_engine_loads_total"))))


def traffic(count: int, dice: random.Random) -> list[Wish]:
    """So many pictures, no look twice in a row."""
    asked = [EVERY[0]]
    while len(asked) < count:
        asked.append(dice.choice([wish for wish in EVERY if wish.look != asked[-1].look]))
    return asked


def share_of_rate(client: httpx2.Client, asked: Sequence[Wish]) -> float:
    """The rate of these requests against that of the same to one checkpoint: the median of three rounds."""
    of_one = [wish.of(ANYWHERE) for wish in asked]
    return statistics.median(
        paint_all(client, of_one, MANY_AT_ONCE)[1] / paint_all(client, asked, MANY_AT_ONCE)[1] for _ in range(3)
    )


def main() -> None:
    """Paint, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--plot", type=Path, help="draw the engine's memory into this PNG")
    arguments = parser.parse_args()
    dice, switches = random.Random(1), 12 if arguments.quick else 100
    with client_of(threads=1) as roomy:
        expected = dict(zip(EVERY, paint_all(roomy, EVERY)[0], strict=True))
        share = share_of_rate(roomy, traffic(24 if arguments.quick else 64, dice))
    watch, painted, seconds = Watch(), list[tuple[Wish, bytes]](), 0.0
    with client_of(threads=1, host_memory=ROOM_FOR_TWO) as narrow:
        paint(narrow, EVERY[0])
        with watch.watching():
            while (loads := loads_at(narrow)) < switches:
                asked = traffic(24, dice)
                pictures, more = paint_all(narrow, asked)
                painted += zip(asked, pictures, strict=True)
                seconds += more
    wrong = sum(picture != expected[wish] for wish, picture in painted)
    if arguments.plot:
        draw(watch.bytes, loads, arguments.plot)
    rows: list[dict[str, object]] = [
        {"what": "networks brought from the disk, room for two of seven", "value": loads, "goal": "", "met": ""},
        {"what": "pictures painted meanwhile", "value": len(painted), "goal": "", "met": ""},
        {"what": "pictures with other bytes than with room for all", "value": wrong, "goal": 0, "met": met(not wrong)},
        {
            "what": "engine's memory, last fifth against second",
            "value": f"{watch.drift:+.1%}",
            "goal": f"{FLAT:.0%}",
            "met": met(abs(watch.drift) <= FLAT),
        },
        {"what": "pictures a second meanwhile", "value": len(painted) / seconds, "goal": "", "met": ""},
        {
            "what": "rate of seven checkpoints in turn against one, all resident",
            "value": share,
            "goal": 0.9,
            "met": met(share >= 0.9),
        },
    ]
    report("Many checkpoints", rows)


if __name__ == "__main__":
    main()
