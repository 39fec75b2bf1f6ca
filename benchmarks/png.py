"""C4: a picture of 896x1152 as PNG, ours against Pillow's, in turn; goal 15 ms and 1.15 times Pillow's default bytes.

Two kinds: what the embedded model paints, and noise on every scale with a little grain, which is as hard to compress as
a photograph.
"""

import asyncio
import io
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.report import met, report
from gesso.app import generate
from gesso.engine.messages import Pixels
from gesso.imaging.png import decode_png, encode_png
from gesso.settings import read_settings

WIDTH, HEIGHT = 896, 1152
TURNS = 25
MILLISECONDS, TIMES_THE_BYTES = 15, 1.15
BODY = {"prompt": "a red boat on a lake, mountains", "seed": 2, "img_width": WIDTH, "img_height": HEIGHT}
SCALES = {64: 60, 16: 30, 4: 10, 1.5: 4, 0.6: 2}
"""How far from grey noise goes that is as coarse as so many pixels."""


def main() -> None:
    """Both kinds of picture."""
    rows = [*_rows("embedded model's", painted()), *_rows("photographic", noise())]
    report("C4 PNG of 896x1152 RGB", rows)


def painted() -> Pixels:
    """A picture by the embedded model."""
    return decode_png(asyncio.run(generate(read_settings(), "sdxl1.0-txt2img", BODY, None, lambda done, due: None))[0])


def noise() -> Pixels:
    """A picture with a photograph's statistics, the same at every run."""
    random = np.random.default_rng(0)
    picture = np.full((HEIGHT, WIDTH, 3), 128.0)
    for scale, strength in SCALES.items():
        light = gaussian_filter(random.standard_normal((HEIGHT, WIDTH, 1)), scale, axes=(0, 1))
        colours = gaussian_filter(random.standard_normal((HEIGHT, WIDTH, 3)), scale, axes=(0, 1))
        picture += strength * (0.85 * light / light.std() + 0.3 * colours / colours.std())
    return Pixels(WIDTH, HEIGHT, picture.round().clip(0, 255).astype(np.uint8).tobytes())


def _rows(name: str, pixels: Pixels) -> list[Mapping[str, object]]:
    writers: dict[str, Callable[[Pixels], bytes]] = {
        "ours": lambda pixels: encode_png(pixels, ""),
        "Pillow's default": lambda pixels: _by_pillow(pixels, 6),
        "Pillow, level 3": lambda pixels: _by_pillow(pixels, 3),
    }
    took: dict[str, list[float]] = {writer: [] for writer in writers}
    for _ in range(TURNS):
        for writer, write in writers.items():
            began = time.perf_counter()
            write(pixels)
            took[writer].append(1000 * (time.perf_counter() - began))
    sizes = {writer: len(write(pixels)) for writer, write in writers.items()}
    return [_row(name, writer, took[writer], sizes[writer], sizes["Pillow's default"]) for writer in writers]


def _row(picture: str, writer: str, took: list[float], size: int, default: int) -> Mapping[str, object]:
    median, ratio = statistics.median(took), size / default
    reached = met(median <= MILLISECONDS and ratio < TIMES_THE_BYTES)
    return {
        "picture": picture,
        "writer": writer,
        "ms": f"{median:.1f} ({min(took):.1f}-{max(took):.1f})",
        "bytes": size,
        "of default": ratio,
        "goal": f"<= {MILLISECONDS} ms, < {TIMES_THE_BYTES}" if writer == "ours" else "",
        "met": reached if writer == "ours" else "",
    }


def _by_pillow(pixels: Pixels, level: int) -> bytes:
    target = io.BytesIO()
    Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb).save(target, "PNG", compress_level=level)
    return target.getvalue()


if __name__ == "__main__":
    main()
