"""Many checkpoints on little memory: the six looks of the embedded family in turn, at a server with room for two.

Goals: every picture has the bytes that it has at a server with room for all, the engine's memory stays within 5 % over
100 switches from one checkpoint to another under load, and where all are resident, requests to six checkpoints in turn
are served at 0.9 times the rate of as many to one, or more.

Servers are one's own, asked over HTTP by four clients at once. `--plot FILE` draws the memory; `--quick` switches 12
times.
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
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
from PIL import Image

from benchmarks.memory_picture import draw
from benchmarks.report import report
from benchmarks.server import KEY, serving

LOOKS = ("timeless", "dreamshaper", "realvis", "juggernaut", "protovision", "yamers_realistic")
OWN_SLUGS = LOOKS[:3]
ROOM_FOR_TWO = 36_000_000
"""Bytes: encoders, VAE and two UNets of the embedded family in bfloat16, and what requests hold."""

AT_ONCE = 4
SEEDS = 3
FLAT = 0.05


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


START = _start_image()


def paint(client: httpx2.Client, look: str, seed: int) -> bytes:
    """A picture in this look, by the endpoint that has it."""
    body: dict[str, object] = {"prompt": "a red heart on a blue background", "seed": seed, "num_inference_steps": 20}
    slug = f"sdxl1.0-{look}" if look in OWN_SLUGS else "sdxl-img2img"
    if look in OWN_SLUGS:
        body |= {"img_width": 512, "img_height": 512}
    else:
        body |= {"image": START, "base_model": look, "strength": 1.0}
    reply = client.post(f"/v1/{slug}", json=body)
    assert reply.status_code == 200, reply.text
    return reply.content


def paint_all(client: httpx2.Client, asked: Sequence[tuple[str, int]]) -> tuple[list[bytes], float]:
    """Pictures by four clients at once, and the seconds for all."""
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pictures = list(pool.map(lambda one: paint(client, *one), asked))
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


def traffic(switches: int) -> list[tuple[str, int]]:
    """Looks and seeds, no look twice in a row."""
    dice, asked = random.Random(1), [("timeless", 0)]
    while len(asked) <= switches:
        look = dice.choice([look for look in LOOKS if look != asked[-1][0]])
        asked.append((look, dice.randrange(SEEDS)))
    return asked


def main() -> None:
    """Paint, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--plot", type=Path, help="draw the engine's memory into this PNG")
    arguments = parser.parse_args()
    asked = traffic(12 if arguments.quick else 100)
    with client_of() as roomy:
        every = [(look, seed) for look in LOOKS for seed in range(SEEDS)]
        expected = dict(zip(every, paint_all(roomy, every)[0], strict=True))
        in_turn, of_one = asked[: 24 if arguments.quick else 48], [("timeless", seed) for _, seed in asked[:48]]
        ratios = []
        for _ in range(3):
            ratios.append(paint_all(roomy, of_one[: len(in_turn)])[1] / paint_all(roomy, in_turn)[1])
    watch = Watch()
    with client_of(host_memory=ROOM_FOR_TWO) as narrow:
        paint(narrow, "timeless", 0)
        with watch.watching():
            pictures, seconds = paint_all(narrow, asked)
        loads = loads_at(narrow)
    wrong = sum(picture != expected[one] for picture, one in zip(pictures, asked, strict=True))
    if arguments.plot:
        draw(watch.bytes, loads, arguments.plot)
    rows = [
        {"what": "switches under load, room for two of six", "value": len(asked) - 1, "goal": "", "met": ""},
        {"what": "networks brought from the disk", "value": loads, "goal": "", "met": ""},
        {"what": "pictures with other bytes than with room for all", "value": wrong, "goal": 0, "met": _met(not wrong)},
        {
            "what": "engine's memory, last fifth against second",
            "value": f"{watch.drift:+.1%}",
            "goal": f"{FLAT:.0%}",
            "met": _met(abs(watch.drift) <= FLAT),
        },
        {"what": "pictures a second meanwhile", "value": len(asked) / seconds, "goal": "", "met": ""},
        {
            "what": "rate of six checkpoints in turn against one, all resident",
            "value": statistics.median(ratios),
            "goal": 0.9,
            "met": _met(statistics.median(ratios) >= 0.9),
        },
    ]
    report("Many checkpoints", rows)


def _met(met: bool) -> str:
    return "yes" if met else "no"


if __name__ == "__main__":
    main()
