"""How long work shows how far it is: a bar on standard error, where somebody may be looking."""

import sys

WIDTH = 30


def show_progress(done: int, due: int) -> None:
    """So many of so many pieces are done."""
    _draw(done, due, f"{done}/{due}")


def show_bytes(done: int, due: int) -> None:
    """So many of so many bytes are done."""
    _draw(done, due, f"{done / 1e6:.0f}/{due / 1e6:.0f} MB")


def _draw(done: int, due: int, counted: str) -> None:
    if sys.stderr.isatty():
        filled = WIDTH * done // max(due, 1)
        end = "\n" if done == due else ""
        print(f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {counted}", end=end, file=sys.stderr, flush=True)
