"""What was written reaches the disk by itself, a moment later.

The end of a process loses nothing that was written; a power cut would. A flush to the disk takes milliseconds, so
nobody waits for one: those of a whole moment are one. What a power cut can lose is what was written within MOMENT and
the time that a flush takes. (SQLite flushes by itself, too, when its log has grown by a thousand pages: a power cut
just then may leave a charge whose picture was not on the disk yet.)
"""

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from gesso.storage.access import Step

MOMENT: Final = 0.1
"""Seconds."""

log = structlog.get_logger()


class Flusher:
    """Takes `steps`, in order, whenever something was written since the last time, in a thread of its own."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._written, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="flusher")
        self._thread.start()

    def soon(self) -> None:
        """Something was written."""
        self._written.set()

    def close(self) -> None:
        """Returns when everything is on the disk."""
        self._closing.set()
        self._written.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            self._written.wait()
            self._closing.wait(MOMENT)
            self._written.clear()
            last = self._closing.is_set()  # asked after `clear`, which else could take from `close` what it has set
            self._flush()

    def _flush(self) -> None:
        for step in self._steps:
            try:
                step()
            except OSError as error:
                log.error("what was written last could not be flushed to the disk", reason=error.strerror)
            except Exception:  # the thread must live on
                log.exception("what was written last could not be flushed to the disk")


def flush_file(path: Path) -> None:
    """A file's bytes, if it is there."""
    try:
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    except FileNotFoundError:
        return


def flush_folder(folder: Path) -> None:
    """All that is in a folder, with names, at the price of one file: its whole file system, where the system can."""
    flush = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if flush is None:
        os.sync()
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        if flush(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)
