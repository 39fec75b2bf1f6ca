"""Contact sheets of an examination: its pictures, small, with what was asked and seen; failures are framed in red."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gesso.mini.judging.examination import Row, as_image

CELL, GAP, FRAME = 128, 8, 3
LINES, LINE, LETTER = 5, 12, 5.2
WIDTH = 1400


def write_sheet(file: Path, rows: Sequence[Row]) -> None:
    """One sheet of all pictures that these rows judge, each once: it is a failure if any row has found it so."""
    tiles: dict[str, tuple[tuple[Tensor, ...], bool]] = {}
    for verdict in (verdict for row in rows for verdict in row.verdicts if verdict.pictures):
        _, so_far = tiles.get(verdict.said, (verdict.pictures, True))
        tiles[verdict.said] = verdict.pictures, so_far and verdict.finding.right
    _arranged([_tile(said, *tile) for said, tile in tiles.items()]).save(file)


def _arranged(tiles: Sequence[Image.Image]) -> Image.Image:
    width, height = tiles[0].width + GAP, tiles[0].height + GAP
    columns = max(WIDTH // width, 1)
    sheet = Image.new("RGB", (columns * width + GAP, -(-len(tiles) // columns) * height + GAP), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (GAP + number % columns * width, GAP + number // columns * height))
    return sheet


def _tile(said: str, pictures: Sequence[Tensor], right: bool) -> Image.Image:
    """Pictures side by side above the words; all tiles of as many pictures are as large."""
    width = len(pictures) * CELL
    tile = Image.new("RGB", (width + 2 * FRAME, CELL + 2 * FRAME + LINES * LINE), "white")
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, width + 2 * FRAME - 1, CELL + 2 * FRAME - 1), fill="white" if right else "red")
    for number, picture in enumerate(pictures):
        image = as_image(picture)
        image.thumbnail((CELL, CELL))
        tile.paste(image, (FRAME + number * CELL, FRAME))
    lines = textwrap.wrap(said, int(width / LETTER))[:LINES]
    draw.multiline_text((FRAME, CELL + 2 * FRAME), "\n".join(lines), "black", ImageFont.load_default(9), spacing=1)
    return tile
