"""Databases that are away, files that are locked, disks that are full: clear errors, nothing half done, no restart."""

import os
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import Connection, func, select

from gesso.accounts.statement import discrepancies, forgotten_reservations
from gesso.engine.fake import FakeEngine
from gesso.storage.tables import jobs, ledger_entries, pictures
from tests.api.house import SMALL, TXT2IMG, House
from tests.postgresql import Postgresql, postgresql

PATIENCE = 60


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with postgresql() as server:
        yield server


class Crowd:
    """Clients that ask without end, and what they are answered."""

    def __init__(self, house: House, clients: int) -> None:
        self.answers: list[httpx2.Response] = []
        self._house, self._over = house, threading.Event()
        self._key = house.new_key("crowd", credits=10**6)
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def statuses(self) -> Counter[int]:
        return Counter(answer.status_code for answer in self.answers)

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits."""
        give_up = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < give_up, self.statuses()
            time.sleep(0.01)

    def _ask(self) -> None:
        headers = {"x-api-key": self._key}
        with httpx2.Client(base_url=self._house.url, headers=headers, timeout=PATIENCE) as client:
            while not self._over.is_set():
                self.answers.append(client.post(f"/v1/{TXT2IMG}", json=SMALL | {"samples": 2}))


def everything_adds_up(house: House, delivered: int) -> None:
    """Every job is done and charged, or failed and given back; files are those of the jobs that are done."""

    def look(connection: Connection) -> tuple[dict[str, int], int]:
        assert discrepancies(connection) == []
        assert forgotten_reservations(connection) == []
        ended = dict(map(tuple, connection.execute(_BY_STATUS)))
        named = set(connection.scalars(select(pictures.c.token)))
        files = {path.stem for path in house.settings.pictures_dir.rglob("*") if path.is_file()}
        assert named == files
        return ended, int(connection.scalar(_CHARGES) or 0)

    give_up = time.monotonic() + 20  # what could not be written is released a little later
    while True:
        try:
            ended, charges = house.read(look)
            assert not {"queued", "running"} & ended.keys()
            break
        except AssertionError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)
    assert ended.get("done", 0) == charges == delivered


_BY_STATUS = select(jobs.c.status, func.count()).group_by(jobs.c.status)
_CHARGES = select(func.count()).where(ledger_entries.c.kind == "capture")


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_postgresql_goes_away_under_load_and_comes_back(server: Postgresql, tmp_path: Path, how: str) -> None:
    url = server.create(f"house-{how}")
    with House(tmp_path, FakeEngine(0.02), database_url=url) as house:
        with Crowd(house, 8) as crowd:
            crowd.until(lambda: crowd.statuses()[200] > 20)
            server.stop(how)
            time.sleep(10)
            assert crowd.answers[-1].status_code == 502
            server.start()
            before = crowd.statuses()[200]
            crowd.until(lambda: crowd.statuses()[200] > before + 20)
        assert crowd.statuses().keys() == {200, 502}
        refused = next(answer for answer in crowd.answers if answer.status_code == 502)
        assert refused.json()["code"] == "service_unavailable"
        assert "database cannot be used" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) > 0
        everything_adds_up(house, crowd.statuses()[200])


def test_a_file_that_another_program_keeps_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gesso.storage.sqlite.LOCK_TIMEOUT_MS", 300)
    with House(tmp_path, FakeEngine(0.02)) as house:
        with Crowd(house, 8) as crowd:
            crowd.until(lambda: crowd.statuses()[200] > 20)
            with closing(sqlite3.connect(tmp_path / "gesso.db", isolation_level=None)) as other:
                other.execute("PRAGMA busy_timeout = 10000")
                other.execute("BEGIN IMMEDIATE")
                crowd.until(lambda: crowd.statuses()[502] > 8)
            before = crowd.statuses()[200]
            crowd.until(lambda: crowd.statuses()[200] > before + 20)
        assert crowd.statuses().keys() == {200, 502}
        everything_adds_up(house, crowd.statuses()[200])


@pytest.mark.root
@pytest.mark.parametrize("what", ["everything", "pictures"])
def test_a_disk_that_is_full(tmp_path: Path, what: str) -> None:
    with small_disk(tmp_path / "disk", 6) as disk:
        data = disk if what == "everything" else tmp_path / "data"
        with House(data, FakeEngine(), storage_url=str(disk / "pictures")) as house:
            with Crowd(house, 4) as crowd:
                crowd.until(lambda: crowd.statuses()[200] > 5)
                ballast = fill(disk / "ballast")
                crowd.until(lambda: crowd.statuses()[502] > 8)
                ballast.unlink()
                before = crowd.statuses()[200]
                crowd.until(lambda: crowd.statuses()[200] > before + 5)
            assert crowd.statuses().keys() == {200, 502}
            everything_adds_up(house, crowd.statuses()[200])


def fill(path: Path) -> Path:
    """A file that leaves no room."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1024):
            try:
                while True:
                    file.write(b"." * size)
            except OSError:
                continue
    return path


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, of that size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
