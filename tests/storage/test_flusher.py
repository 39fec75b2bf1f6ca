"""What is flushed to the disk when, and what happens where that fails."""

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gesso.storage import flusher as flushing
from gesso.storage.flusher import Flusher, flush_file, flush_folder

PATIENCE = 20


class Steps:
    """Two steps, and how often each was taken, in order."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self._changed = threading.Condition()

    def both(self) -> list[Callable[[], None]]:
        return [lambda: self._take("first"), lambda: self._take("second")]

    def wait_for(self, count: int) -> bool:
        """Whether so many were taken, sooner or later."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.taken) >= count, PATIENCE)

    def _take(self, name: str) -> None:
        with self._changed:
            self.taken.append(name)
            self._changed.notify_all()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment that does not end by itself."""
    monkeypatch.setattr(flushing, "MOMENT", 3600)


def test_what_was_written_is_flushed_by_itself_in_the_order_of_the_steps() -> None:
    steps = Steps()
    flusher = Flusher(steps.both())
    for flushes in (1, 2, 3):
        flusher.soon()
        assert steps.wait_for(2 * flushes)
    flusher.close()
    assert steps.taken == ["first", "second"] * (len(steps.taken) // 2)


def test_nothing_is_flushed_while_nothing_is_written() -> None:
    steps = Steps()
    flusher = Flusher(steps.both())
    threading.Event().wait(3 * flushing.MOMENT)
    assert steps.taken == []
    flusher.close()


@pytest.mark.usefixtures("endless")
def test_all_that_is_written_in_a_moment_is_one_flush_and_closing_does_not_wait_for_its_end() -> None:
    steps = Steps()
    flusher = Flusher(steps.both())
    for _ in range(1000):
        flusher.soon()
    assert steps.taken == []
    flusher.close()
    assert steps.taken == ["first", "second"]


def test_what_is_written_during_a_flush_is_flushed_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "MOMENT", 0.001)
    steps, inside, go = Steps(), threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert go.wait(PATIENCE)

    flusher = Flusher([wait, *steps.both()])
    flusher.soon()
    assert inside.wait(PATIENCE)
    flusher.soon()
    go.set()
    assert steps.wait_for(4)
    flusher.close()


def test_closing_ends_also_when_it_begins_as_a_moment_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps()
    flusher = Flusher(steps.both())
    closing = threading.Thread(target=flusher.close, daemon=True)
    wait = flusher._closing.wait

    def wait_while_closing_begins(timeout: float) -> bool:
        ended = wait(timeout)
        if closing.ident is None:
            closing.start()
            closing.join(0.1)
        return ended

    monkeypatch.setattr(flusher._closing, "wait", wait_while_closing_begins)
    flusher.soon()
    assert steps.wait_for(2)
    closing.join(PATIENCE)
    assert not closing.is_alive()


def test_a_step_that_the_disk_refuses_is_told_and_neither_stops_the_next_one_nor_the_next_time() -> None:
    steps = Steps()

    def refuse() -> None:
        raise OSError(errno.ENOSPC, "no room")

    with capture_logs() as logs:
        flusher = Flusher([refuse, *steps.both()])
        for flushes in (1, 2):
            flusher.soon()
            assert steps.wait_for(2 * flushes)
        flusher.close()
    assert steps.taken == ["first", "second"] * len(logs)
    assert all((log["log_level"], log["reason"]) == ("error", "no room") for log in logs)


def test_a_file_is_flushed_and_a_missing_one_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    (tmp_path / "file").write_bytes(b"whole")
    flush_file(tmp_path / "file")
    flush_file(tmp_path / "missing")
    flush_file(tmp_path / "missing" / "file")
    assert flushed == [(tmp_path / "file").stat().st_ino]
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert not (tmp_path / "missing").exists()


def test_a_folder_is_flushed_and_a_missing_one_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"whole")
    flush_folder(tmp_path)
    flush_folder(tmp_path / "missing")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_flushed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class System:
        def syncfs(self, descriptor: int) -> int:
            assert os.path.samestat(os.fstat(descriptor), tmp_path.stat())
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: System())
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as error:
        flush_folder(tmp_path)
    assert error.value.errno == errno.EIO


def test_a_system_that_cannot_flush_a_file_system_alone_flushes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    monkeypatch.setattr(os, "sync", lambda: calls.append("sync"))
    flush_folder(tmp_path)
    assert calls == ["sync"]
