"""How long requests take, drawn: for each kind of request a bar from its median to its 99th percentile."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageDraw import ImageDraw as Pen

WIDTH, HEIGHT = 1200, 640
FINER = 2
"""Drawn so many times as large, and reduced: for smooth edges."""

PAPER, INK, FAINT, GRID = "#ffffff", "#1d2433", "#6b7385", "#e4e7ee"
COLOURS = {
    "shortest first": "#0f8b6d",
    "first come": "#e08e2b",
    "one at a time": "#b9bfcc",
    "Gesso": "#0f8b6d",
    "plain server": "#b9bfcc",
}
LEGEND = {
    "shortest first": "Gesso: shortest first, in shared calls",
    "first come": "first come, first served, in shared calls",
    "one at a time": "one at a time",
    "Gesso": "Gesso",
    "plain server": "FastAPI around diffusers' pipelines, one request at a time",
}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written around the bars."""

    title: str
    subtitle: str
    footnote: str


SIMULATED = Caption(
    "Short requests do not wait behind long ones",
    "Mixed traffic at 90 % load: 60 % 25 steps, 20 % edits of 12, 20 % drafts of 6. Simulated, eight accounts.",
    "A bar goes from the median to the 99th percentile, which is written; the line is a request alone.",
)


@dataclass(frozen=True, slots=True)
class Bar:
    """Seconds: median and 99th percentile of a kind of request under one order, and what one takes `alone`."""

    panel: str
    kind: str
    order: str
    median: float
    worst: float
    alone: float


class _Panel:
    """One device's bars over a time axis whose every step is ten times the last."""

    FIRST, LAST = 0.05, 300.0
    TOP, BOTTOM = 150, 530

    def __init__(self, pen: Pen, left: int, right: int, bars: Sequence[Bar]) -> None:
        self._pen, self._left, self._right, self._bars = pen, left, right, bars

    def draw(self) -> None:
        _write(self._pen, self._left, self.TOP - 36, self._bars[0].panel, 19, INK)
        for seconds, label in ((0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (100, "100 s")):
            x = self._x(seconds)
            self._pen.line(_scaled(x, self.TOP - 4, x, self.BOTTOM), GRID, FINER)
            _write(self._pen, x, self.BOTTOM + 6, label, 14, FAINT, "ma")
        kinds = list(dict.fromkeys(bar.kind for bar in self._bars))
        height = (self.BOTTOM - self.TOP) / len(kinds)
        for number, kind in enumerate(kinds):
            self._draw_kind([bar for bar in self._bars if bar.kind == kind], self.TOP + number * height)

    def _draw_kind(self, bars: Sequence[Bar], top: float) -> None:
        _write(self._pen, self._left, top, bars[0].kind, 16, INK)
        alone = self._x(bars[0].alone)
        self._pen.line(_scaled(alone, top + 24, alone, top + 28 + 28 * len(bars)), INK, FINER)
        for number, bar in enumerate(bars):
            y = top + 28 + 28 * number
            left, right = self._x(bar.median), self._x(bar.worst)
            self._pen.rounded_rectangle(_scaled(left - 4, y, right + 4, y + 20), 7 * FINER, COLOURS[bar.order])
            self._label(right + 12, y + 10, bar)

    def _label(self, x: float, y: float, bar: Bar) -> None:
        _write(self._pen, x, y, f"{bar.worst:.2g} s" if bar.worst < 10 else f"{bar.worst:.0f} s", 15, INK, "lm")

    def _x(self, seconds: float) -> float:
        part = math.log(seconds / self.FIRST) / math.log(self.LAST / self.FIRST)
        return self._left + part * (self._right - self._left - 40)


def draw(bars: Sequence[Bar], file: Path, caption: Caption = SIMULATED) -> None:
    """Write a PNG with one panel beside the other."""
    large = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), PAPER)
    pen = ImageDraw.Draw(large)
    _write(pen, 40, 28, caption.title, 30, INK)
    _write(pen, 40, 70, caption.subtitle, 17, FAINT)
    panels = list(dict.fromkeys(bar.panel for bar in bars))
    width = (WIDTH - 80) // len(panels)
    for number, panel in enumerate(panels):
        left = 40 + number * width
        _Panel(pen, left, left + width - 20, [bar for bar in bars if bar.panel == panel]).draw()
    _draw_legend(pen, dict.fromkeys(bar.order for bar in bars))
    _write(pen, 40, 604, caption.footnote, 15, FAINT)
    large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).quantize(64).save(file, optimize=True)


def _draw_legend(pen: Pen, orders: Iterable[str]) -> None:
    x = 40.0
    for order in orders:
        pen.rounded_rectangle(_scaled(x, 577, x + 28, 593), 8 * FINER, COLOURS[order])
        x = _write(pen, x + 36, 585, LEGEND[order], 15, INK, "lm") + 28


def _write(pen: Pen, x: float, y: float, text: str, size: int, ink: str, anchor: str = "la") -> float:
    """Told is where the text ends."""
    font = ImageFont.load_default(size * FINER)
    pen.text((x * FINER, y * FINER), text, ink, font, anchor, stroke_width=3 * FINER, stroke_fill=PAPER)
    return x + pen.textlength(text, font) / FINER


def _scaled(*places: float) -> tuple[float, ...]:
    return tuple(place * FINER for place in places)
