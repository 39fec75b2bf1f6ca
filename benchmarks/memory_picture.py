"""An engine's memory over time, drawn."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1000, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 970, 80, 310
FINER = 2
"""Drawn so many times as large, and reduced: for smooth edges."""

PAPER, INK, FAINT, GRID, LINE = "#ffffff", "#1d2433", "#6b7385", "#e4e7ee", "#0f8b6d"


def draw(bytes_taken: Sequence[int], loads: int, file: Path) -> None:
    """Write a PNG of the bytes taken at every tenth of a second, from nothing up."""
    large = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), PAPER)
    pen = ImageDraw.Draw(large)
    highest = max(bytes_taken) * 1.15
    seconds = len(bytes_taken) / 10

    def place(number: float, taken: float) -> tuple[float, float]:
        x = LEFT + (RIGHT - LEFT) * number / max(len(bytes_taken) - 1, 1)
        return x * FINER, (BOTTOM - (BOTTOM - TOP) * taken / highest) * FINER

    def write(x: float, y: float, text: str, size: int, ink: str, anchor: str = "la") -> None:
        pen.text((x * FINER, y * FINER), text, ink, ImageFont.load_default(size * FINER), anchor)

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = place(0, share * highest)
        pen.line((LEFT * FINER, y, RIGHT * FINER, y), GRID, FINER)
        write(LEFT - 8, y / FINER, f"{share * highest / 1e6:.0f}", 14, FAINT, "rm")
    pen.line([place(number, taken) for number, taken in enumerate(bytes_taken)], LINE, 2 * FINER, joint="curve")
    write(LEFT, 20, "Seven checkpoints in turn, room for two", 24, INK)
    write(LEFT, 52, f"Resident memory of the engine's process in MB; {loads} networks brought from the disk", 15, FAINT)
    for share in (0.0, 0.5, 1.0):
        write(LEFT + (RIGHT - LEFT) * share, BOTTOM + 12, f"{share * seconds:.0f} s", 14, FAINT, "ma")
    large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).quantize(64).save(file, optimize=True)
