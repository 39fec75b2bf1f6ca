"""C3: what a request costs beside its painting: key, validation, credits, job, picture file, reply.

The engine paints placeholders at once (`engine = fake`), pictures have 512 x 512 pixels and stay where they are:
replies are JSON with their addresses. Whoever asks is a process of its own that writes and reads bare HTTP/1.1, so that
what is measured is the server. Goals: 400 requests a second by 32 connections, p99 50 ms; 3 ms for a lone request.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.report import at_least, at_most, report
from benchmarks.server import KEY, serving

CONNECTIONS = 32
RATE_GOAL, TAIL_GOAL, LONE_GOAL = 400, 50, 3
BODY = {"prompt": "a red heart on a blue background", "img_width": 512, "img_height": 512, "num_inference_steps": 20}


@dataclass(frozen=True)
class Asked:
    """How long each request took, in milliseconds, and all of them together, in seconds."""

    each: list[float]
    seconds: float

    def hundredth(self, number: int) -> float:
        """Milliseconds that so many of a hundred requests do not exceed."""
        return statistics.quantiles(self.each, n=100)[number - 1]


def ask(url: str, connections: int, requests: int) -> Asked:
    """So many requests by so many connections at once, each asking anew as soon as it is answered."""
    return asyncio.run(_ask(url, connections, requests))


async def _ask(url: str, connections: int, requests: int) -> Asked:
    each: list[float] = []
    began = time.monotonic()
    await asyncio.gather(*(_ask_on(url, requests // connections, each) for _ in range(connections)))
    return Asked(each, time.monotonic() - began)


async def _ask_on(url: str, requests: int, each: list[float]) -> None:
    place, body = urlsplit(url), json.dumps(BODY).encode()
    head = (
        f"POST /v1/sdxl1.0-txt2img HTTP/1.1\r\nhost: {place.netloc}\r\nx-api-key: {KEY}\r\n"
        f"accept: application/json\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    for _ in range(requests):
        began = time.monotonic()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        lines = answer.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        await reader.readexactly(length)
        each.append(1000 * (time.monotonic() - began))
    writer.close()


def main() -> None:
    """A lone client, then many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3200)
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database; by default SQLite in a new folder")
    options = parser.parse_args()
    requests, own = options.requests, {"database_url": options.database} if options.database else {}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(folder, engine="fake", **own) as url,
        ProcessPoolExecutor(1) as elsewhere,
    ):
        elsewhere.submit(ask, url, CONNECTIONS, 10 * CONNECTIONS).result()
        lone = elsewhere.submit(ask, url, 1, requests // 10).result()
        many = elsewhere.submit(ask, url, CONNECTIONS, requests).result()
    rate, tail, alone = len(many.each) / many.seconds, many.hundredth(99), lone.hundredth(50)
    rows = [
        {"what": "requests/s, 32 connections", "value": rate} | at_least(rate, RATE_GOAL),
        {"what": "p50, 32 connections, ms", "value": many.hundredth(50), "goal": "", "met": ""},
        {"what": "p99, 32 connections, ms", "value": tail} | at_most(tail, TAIL_GOAL),
        {"what": "median of a lone request, ms", "value": alone} | at_most(alone, LONE_GOAL),
    ]
    report(f"C3 the server's own cost, engine = fake, {'PostgreSQL' if own else 'SQLite'}", rows)


if __name__ == "__main__":
    main()
