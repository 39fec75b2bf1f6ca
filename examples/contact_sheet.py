"""Paints the README's pictures through a running server: the five documented requests, and eight shapes.

    KEY=SG_... python examples/contact_sheet.py http://127.0.0.1:8000 docs/pictures

Needs requests and Pillow.
"""

import base64
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = Path(__file__).parent.parent / "gesso" / "catalogue" / "examples"
SHAPES = (
    ("circle", "red", "blue"),
    ("square", "yellow", "black"),
    ("triangle", "green", "white"),
    ("star", "orange", "purple"),
    ("heart", "pink", "cyan"),
    ("diamond", "white", "red"),
    ("ring", "blue", "yellow"),
    ("cross", "black", "orange"),
)
CELL, LABEL, GAP = 256, 22, 8


def main() -> None:
    """One sheet for each."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    start = paint(url, "sdxl1.0-txt2img", shape("star", "yellow", "green") | {"img_width": 896, "img_height": 1152})
    documented = {path.stem: json.loads(path.read_text()) for path in sorted(EXAMPLES.glob("*.json"))}
    documented["sdxl-img2img"]["image"] = data_uri(start)  # the documented one lies on another service's host
    shapes = {f"{colour} {name}": shape(name, colour, ground) for name, colour, ground in SHAPES}
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda slug: paint(url, slug, documented[slug]), documented))
        sheet(list(documented), pictures, columns=5).save(folder / "documented.png")
        pictures = list(pool.map(lambda name: paint(url, "sdxl1.0-txt2img", shapes[name]), shapes))
        sheet(list(shapes), pictures, columns=4).save(folder / "shapes.png")


def sheet(labels: list[str], pictures: list[Image.Image], columns: int) -> Image.Image:
    """The pictures in rows, each under its label."""
    height = CELL * max(picture.height / picture.width for picture in pictures)
    cell = (CELL + GAP, round(height) + LABEL + GAP)
    rows = -(-len(pictures) // columns)
    whole = Image.new("RGB", (columns * cell[0] + GAP, rows * cell[1] + GAP), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(14)
    for number, (label, picture) in enumerate(zip(labels, pictures, strict=True)):
        left, top = GAP + number % columns * cell[0], GAP + number // columns * cell[1]
        pen.text((left, top), label, "black", font)
        small = picture.resize((CELL, round(CELL * picture.height / picture.width)), Image.Resampling.LANCZOS)
        whole.paste(small, (left, top + LABEL))
    return whole


def data_uri(picture: Image.Image) -> str:
    """A picture as a request may carry it."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def shape(name: str, colour: str, ground: str) -> dict[str, object]:
    """The request for one shape."""
    prompt = f"a large {colour} {name} on a {ground} background"
    return {"prompt": prompt, "seed": 7, "img_width": 512, "img_height": 512}


def paint(url: str, slug: str, body: dict[str, object]) -> Image.Image:
    """One picture, or what the server says instead."""
    headers = {"x-api-key": os.environ["KEY"], "accept": "image/png"}
    reply = requests.post(f"{url}/v1/{slug}", json=body, headers=headers, timeout=300)
    if reply.status_code != 200:
        sys.exit(f"{slug}: {reply.status_code} {reply.text}")
    return Image.open(io.BytesIO(reply.content))


if __name__ == "__main__":
    main()
