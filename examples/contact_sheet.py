"""Paints contact sheets through a running server: README's pictures, and all that the embedded models can be asked.

    KEY=SG_... python examples/contact_sheet.py http://127.0.0.1:8000 docs/pictures [SHEET ...]

Needs requests and Pillow.
"""

import base64
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = Path(__file__).parent.parent / "gesso" / "catalogue" / "examples"
CELL, LABEL, GAP = 192, 20, 6
AT_ONCE = 8
TEXT = "sdxl1.0-txt2img"
EDIT = "sdxl-img2img"
SMALL = {"img_width": 512, "img_height": 512}
THINGS = (
    "red circle",
    "yellow square",
    "green triangle",
    "orange star",
    "pink heart",
    "purple diamond",
    "blue ring",
    "black cross",
    "white moon",
    "yellow sun",
    "pink flower",
    "green tree",
    "red house",
    "gray mountain",
    "white cloud",
    "brown boat",
    "orange fish",
    "gray cat",
    "red mushroom",
    "purple butterfly",
)
GROUNDS = (
    "on a cyan background",
    "on a blue to pink gradient background",
    "on a white and green striped background",
    "on a black and yellow checkered background",
    "in the sky",
    "on the sea",
    "at night",
    "on grass",
    "at sunset",
)
RENDERINGS = (
    "",
    "line art",
    "watercolor",
    "oil painting",
    "pixel art",
    "crayon drawing",
    "neon glow",
    "stained glass",
    "blueprint",
    "clay",
    "papercut",
    "comic book",
    "black and white photo",
    "silhouette",
    "pointillism",
    "low poly",
)
RELATIONS = (
    "a red heart left of a blue star",
    "a green tree right of a white house",
    "a yellow sun above a purple mountain",
    "a black cat below a white cloud",
    "an orange fish and a blue mushroom",
    "two red hearts",
    "three yellow stars",
    "four purple flowers",
)
SIZES = ((512, 512), (1024, 1024), (2048, 2048), (896, 1152), (1152, 896), (512, 2048), (2048, 768))
SUBJECTS = (
    "a red heart on a cyan background",
    "a gray cat on a green background",
    "a red house on grass",
    "a white boat",
)
LOOKS = ("timeless", "dreamshaper", "realvis", "juggernaut", "protovision", "yamers_realistic")
WEIGHTS = (0.5, 0.75, 1.0, 1.25, 1.5)
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Request:
    """What is asked of which endpoint, and what is written above the picture."""

    label: str
    slug: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Server:
    """Where pictures come from."""

    url: str
    key: str

    def paint(self, request: Request) -> Image.Image:
        """One picture, or what the server says instead."""
        headers = {"x-api-key": self.key, "accept": "image/png"}
        reply = requests.post(f"{self.url}/v1/{request.slug}", json=request.body, headers=headers, timeout=600)
        if reply.status_code != 200:
            sys.exit(f"{request.slug}: {reply.status_code} {reply.text}")
        return Image.open(io.BytesIO(reply.content))

    def start(self, prompt: str, seed: int = 7, **size: int) -> str:
        """A picture as image-to-image takes it."""
        buffer = io.BytesIO()
        self.paint(text(prompt, prompt, seed=seed, **size)).save(buffer, "PNG")
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def text(label: str, prompt: str, slug: str = TEXT, seed: int = 7, **more: Any) -> Request:
    """A text-to-image request, 512 x 512 unless said otherwise."""
    return Request(label, slug, {"prompt": prompt, "seed": seed, **SMALL, **more})


def documented(server: Server) -> Iterator[Request]:
    """The five documented requests; the start image of theirs lies on another service's host."""
    for path in sorted(EXAMPLES.glob("*.json")):
        body = json.loads(path.read_text())
        if "image" in body:
            body["image"] = server.start("a yellow star on a green background", img_width=896, img_height=1152)
        yield Request(path.stem, path.stem, body)


def things(server: Server) -> Iterator[Request]:
    """Everything that the embedded model knows."""
    for number, thing in enumerate(THINGS):
        ground = "cyan" if "white" in thing or "gray" in thing else "white"
        article = "an" if thing[0] in "aeiou" else "a"
        yield text(thing, f"{article} {thing} on a {ground} background", seed=number)


def grounds(server: Server) -> Iterator[Request]:
    for ground in GROUNDS:
        yield text(ground, f"a red boat {ground}")


def renderings(server: Server) -> Iterator[Request]:
    for subject in ("a red house on grass", "an orange cat on a green background"):
        for rendering in RENDERINGS:
            yield text(rendering or "(nothing said)", f"{subject}, {rendering}" if rendering else subject)


def styles(server: Server) -> Iterator[Request]:
    """All styles of the first endpoint."""
    document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    schema = document["paths"][f"/v1/{TEXT}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for style in schema["properties"]["style"]["enum"]:
        yield text(style, "a blue butterfly on a yellow background", style=style)


def relations(server: Server) -> Iterator[Request]:
    for relation in RELATIONS:
        for seed in (7, 8):
            yield text(relation, f"{relation} on a pink background", seed=seed)


def sizes(server: Server) -> Iterator[Request]:
    for prompt in ("a large red heart on a white background", "a boat on the sea"):
        for width, height in SIZES:
            yield text(f"{width}x{height}", prompt, img_width=width, img_height=height)


def looks(server: Server) -> Iterator[Request]:
    """The same words to every checkpoint; three are reached by image-to-image alone."""
    start = server.start("a white circle on a white background")
    for subject in SUBJECTS:
        for look in LOOKS:
            if look in ("timeless", "dreamshaper", "realvis"):
                yield text(look, subject, slug=f"sdxl1.0-{look}", scheduler="UniPC")
            else:
                body = {"prompt": subject, "image": start, "base_model": look, "strength": 1.0, "seed": 7}
                yield Request(look, EDIT, body)


def weights(server: Server) -> Iterator[Request]:
    for words in ("a (large:{}) red heart on a white background", "a (blue:{}) flower on a white background"):
        for weight in WEIGHTS:
            yield text(f"weight {weight}", words.format(weight))
    for weight in WEIGHTS:
        yield text(f"weight {weight}", f"an orange cat on a green background, (neon glow:{weight})")


def negatives(server: Server) -> Iterator[Request]:
    """What comes when little is said, and what when it is then named in the negative prompt."""
    for prompt, unwanted in (
        ("a star", ("", "yellow", "blue", "black background")),
        ("a flower", ("", "pink", "grass", "white background")),
        ("a cat at night", ("", "gray", "orange", "night")),
    ):
        for negative in unwanted:
            yield text(f"not {negative}" if negative else prompt, prompt, negative_prompt=negative)


def strengths(server: Server) -> Iterator[Request]:
    for start_prompt, prompt in (
        ("a red heart on a white background", "a blue star on a white background"),
        ("a green tree on grass", "a red house on grass"),
    ):
        start = server.start(start_prompt)
        for strength in STRENGTHS:
            body = {"prompt": prompt, "image": start, "strength": strength, "seed": 7}
            yield Request(f"strength {strength}", EDIT, body)


def refiner(server: Server) -> Iterator[Request]:
    for refined in (False, True):
        for subject in SUBJECTS:
            yield text(f"refiner {'on' if refined else 'off'}", subject, refiner=refined)


SHEETS: dict[str, tuple[Callable[[Server], Iterator[Request]], int]] = {
    "documented": (documented, 5),
    "things": (things, 10),
    "grounds": (grounds, 9),
    "renderings": (renderings, 8),
    "styles": (styles, 13),
    "relations": (relations, 8),
    "sizes": (sizes, 7),
    "looks": (looks, 6),
    "weights": (weights, 5),
    "negatives": (negatives, 4),
    "strengths": (strengths, 5),
    "refiner": (refiner, 4),
}
"""The requests of each sheet, and how many go side by side."""


def main() -> None:
    """Paint the sheets that are named, or all."""
    server, folder = Server(sys.argv[1], os.environ["KEY"]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[3:] or SHEETS:
        asked, columns = SHEETS[name]
        listed = list(asked(server))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            pictures = list(pool.map(partial(Server.paint, server), listed))
        sheet([request.label for request in listed], pictures, columns).save(folder / f"{name}.png", optimize=True)


def sheet(labels: list[str], pictures: list[Image.Image], columns: int) -> Image.Image:
    """The pictures in rows, each under its label, all in cells of one size."""
    small = [picture.convert("RGB") for picture in pictures]
    for picture in small:
        picture.thumbnail((CELL, CELL * 9 // 7), Image.Resampling.LANCZOS)
    height = max(picture.height for picture in small)
    cell = (CELL + GAP, height + LABEL + GAP)
    rows = -(-len(small) // columns)
    whole = Image.new("RGB", (columns * cell[0] + GAP, rows * cell[1] + GAP), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(13)
    for number, (label, picture) in enumerate(zip(labels, small, strict=True)):
        left, top = GAP + number % columns * cell[0], GAP + number // columns * cell[1]
        pen.text((left, top), label[:30], "black", font)
        whole.paste(picture, (left, top + LABEL))
    return whole


if __name__ == "__main__":
    main()
