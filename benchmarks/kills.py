"""`kill -9` of a whole server at random moments under load; afterwards nothing is lost, and nothing is charged twice.

`python -m benchmarks.kills [--kills 100] [--database postgresql://...]`. Eight clients of two accounts ask an engine
that paints placeholders at once for one to four pictures, as fast as they are answered; every second request has an
Idempotency-Key, and is sent again until it is answered. Whenever the server is killed, it is started again, and when it
has resumed or released what was left, before the clients go on, the database, the folder of pictures and everything
that a client was told are held against each other. The exit status is 1 where something is wrong.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import Connection, func, select

from benchmarks.report import report
from gesso.accounts.accounts import Accounts
from gesso.accounts.keys import Keys
from gesso.accounts.statement import discrepancies, forgotten_reservations
from gesso.storage.database import Database, open_database
from gesso.storage.tables import jobs, ledger_entries, pictures

CLIENTS = 8
LONGEST = 1.5
"""Seconds between the first request and the kill, at most."""
STARTING, ANSWERING = 60, 30
BODY = {"prompt": "a red heart", "img_width": 512, "img_height": 512, "num_inference_steps": 20}
SLUG = "sdxl1.0-txt2img"


@dataclass(frozen=True)
class Told:
    """What a client was told: job, cost in credits, and tokens of pictures."""

    job_id: str
    cost: float
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, reply: dict[str, Any]) -> "Told":
        """A reply in JSON."""
        tokens = (one["url"].rpartition("/")[2].removesuffix(".png") for one in reply["images"])
        return cls(reply["request_id"], reply["cost"], tuple(tokens))


@dataclass
class Client:
    """One that asks on and on, over all the lives of a server."""

    key: str
    name: str
    dice: random.Random
    told: dict[str, Told] = field(default_factory=dict)
    retried: int = 0
    again: tuple[str, dict[str, object]] | None = None
    """A request with an Idempotency-Key that has not been answered yet."""
    number: int = 0

    async def ask(self, url: str) -> None:
        """Until the server is gone."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWERING)) as session:
            while True:
                await self._ask_once(session, url)

    async def _ask_once(self, session: aiohttp.ClientSession, url: str) -> None:
        self.number += 1
        body = BODY | {"samples": self.dice.randint(1, 4)}
        headers = {"x-api-key": self.key, "accept": "application/json"}
        came_before = self.again is not None
        if self.again is None and self.number % 2:
            self.again = f"{self.name}-{self.number}", body
        if self.again is not None:
            headers["idempotency-key"], body = self.again
        async with session.post(f"{url}/v1/{SLUG}", json=body, headers=headers) as answer:
            reply = await answer.json()
        assert answer.status == 200, reply
        told = Told.of(reply)
        assert self.told.setdefault(told.job_id, told) == told
        self.retried += came_before
        self.again = None


@dataclass
class Findings:
    """What was wrong, over all kills; nothing should be."""

    unbalanced: int = 0
    reserved: int = 0
    unended: int = 0
    charged_wrongly: int = 0
    named_and_failed: int = 0
    told_but_lost: int = 0
    without_picture: int = 0
    left_over: int = 0

    def note(self, connection: Connection, folder: Path, told: dict[str, Told]) -> None:
        """Hold everything against each other, while nobody asks."""
        self.unbalanced += len(discrepancies(connection))
        self.reserved += len(forgotten_reservations(connection))
        known = {row.id: row for row in connection.execute(select(jobs))}
        self.unended += sum(row.status in ("queued", "running") for row in known.values())
        self.charged_wrongly += _charged_wrongly(connection, known)
        self.named_and_failed += sum(row.resumes and row.status != "done" for row in known.values())
        for one in told.values():
            job = known.get(one.job_id)
            self.told_but_lost += job is None or job.status != "done" or job.cost_micro != round(one.cost * 1e6)
        named = set(connection.scalars(select(pictures.c.token)))
        files = {path.stem for path in folder.rglob("*") if path.is_file()}
        self.without_picture += len(named - files) + len(
            {token for one in told.values() for token in one.tokens} - files
        )
        self.left_over += len(files - named)


def _charged_wrongly(connection: Connection, known: dict[str, Any]) -> int:
    """Jobs whose entries are not: what it cost once where it is done, all of it given back where it failed."""
    named = ledger_entries.c.job_id, ledger_entries.c.kind
    query = select(*named, func.sum(ledger_entries.c.amount_micro), func.count()).group_by(*named)
    entries: dict[str, dict[str, tuple[int, int]]] = {}
    for job_id, kind, micro, number in connection.execute(query):
        entries.setdefault(job_id, {})[kind] = int(micro), number
    wrong = 0
    for job_id, job in known.items():
        whole = (job.cost_micro, 1)
        expected = {"reserve": whole, "capture" if job.status == "done" else "release": whole}
        wrong += entries.get(job_id) != expected
    return wrong


@asynccontextmanager
async def serving(folder: str, database: str | None) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The address of a server, and its process, which leads a group of its own."""
    own = {"GESSO_DATA_DIR": folder, "GESSO_ENGINE": "fake"} | ({"GESSO_DATABASE_URL": database} if database else {})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gesso", "serve", "--port", "0"),
        env={**os.environ, **own},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), STARTING)).decode()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield found[0], process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _live_and_die(clients: list[Client], folder: str, database: str | None, seconds: float) -> None:
    async with serving(folder, database) as (url, process):
        asking = [asyncio.create_task(client.ask(url)) for client in clients]
        await asyncio.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if not isinstance(outcome, aiohttp.ClientError | ConnectionError):
                raise RuntimeError("a client did not end with the server") from outcome


async def run(kills: int, folder: str, url: str | None, seed: int) -> tuple[Findings, list[Client], dict[str, int]]:
    """So many lives of a server; what was wrong, the clients, and how many jobs ended how."""
    dice = random.Random(seed)
    database = await open_database(url or f"sqlite:///{Path(folder) / 'gesso.db'}")
    clients = [client async for client in _clients(database, dice)]
    findings, began = Findings(), time.monotonic()
    for kill in range(kills):
        await _live_and_die(clients, folder, url, dice.uniform(0.02, LONGEST))
        async with serving(folder, url):  # it releases what it does not resume before it says where it is
            await _all_have_ended(database)
            told = {job: one for client in clients for job, one in client.told.items()}
            await database.read(lambda connection: findings.note(connection, Path(folder) / "pictures", told))  # noqa: B023
        print(f"\r{kill + 1} of {kills} kills, {time.monotonic() - began:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    count = select(jobs.c.status, func.count()).group_by(jobs.c.status)
    ends = await database.read(lambda connection: dict(map(tuple, connection.execute(count))))
    await database.close()
    return findings, clients, ends


async def _all_have_ended(database: Database) -> None:
    """Waits for the jobs that were resumed, but not for ever: those that never end are found."""
    alive = select(func.count()).where(jobs.c.status.in_(("queued", "running")))
    for _ in range(500):
        if await database.read(lambda connection: connection.scalar(alive)) == 0:
            break
        await asyncio.sleep(0.02)


async def _clients(database: Database, dice: random.Random) -> AsyncIterator[Client]:
    for number in range(CLIENTS):
        account = f"account {number % 2}"
        if number < 2:
            await Accounts(database).create(account, 10**12)
        key = await Keys(database).create(account)
        yield Client(key, f"client-{number}", random.Random(dice.random()))


def main() -> None:
    """One table, of what happened and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database; by default SQLite in a new folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        findings, clients, ends = asyncio.run(run(options.kills, folder, options.database, options.seed))
    wrong = vars(findings)
    happened = {
        "kills": options.kills,
        "jobs": sum(ends.values()),
        "done": ends.get("done", 0),
        "failed and released": ends.get("failed", 0),
        "answers received": sum(len(client.told) for client in clients),
        "sent again and answered": sum(client.retried for client in clients),
    }
    rows = [{"what": what, "number": number, "goal": "", "met": ""} for what, number in happened.items()]
    rows += [
        {"what": what.replace("_", " "), "number": number, "goal": "0", "met": "no" if number else "yes"}
        for what, number in wrong.items()
    ]
    report(f"Killed at random moments, {'PostgreSQL' if options.database else 'SQLite'}", rows)
    sys.exit(any(wrong.values()))


if __name__ == "__main__":
    main()
