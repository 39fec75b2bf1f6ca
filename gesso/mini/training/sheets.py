"""Sheets to look at while a training runs: what a UNet paints of standing prompts, what a decoder makes of scenes."""

import random
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from gesso.mini.latents import cells_of
from gesso.mini.training.conditioning import encode
from gesso.mini.training.sampling import paint
from gesso.mini.training.vae import Crop, lesson
from gesso.mini.world.composition import compose, whole
from gesso.mini.world.looks import LOOKS
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import COLOURS, GROUNDS, KINDS, RENDERINGS, Ground, Scene, Thing

PROMPTS = (
    "a red circle on a blue background",
    "a yellow star on a black background",
    "a pink heart on a white background",
    "a green triangle on a yellow background",
    "a white ring on a red background",
    "a cat",
    "a boat on the sea",
    "a red house on grass",
    "a purple butterfly in the sky",
    "an orange fish on a green background",
    "a white moon at night",
    "a pink flower, watercolor",
    "a blue mushroom, neon glow",
    "a red heart, pixel art",
    "a tree, stained glass",
    "a brown cat, clay",
    "a red heart left of a blue square on a white background",
    "a yellow sun above a green tree on a pink background",
    "three purple stars on a gray background",
    "a small black cross in the top right corner on a cyan background",
    "a photo of a large red heart on a white background, masterpiece, best quality, 8k",
    "a mountain at sunset",
    "a cloud on a blue to purple gradient background",
    "a panda in a spacesuit",
)
EXAMPLES = (
    ("heart", "red", "cyan"),
    ("cat", "orange", "green"),
    ("house", "red", "white", "grass"),
    ("boat", "blue", "white", "sea"),
)
DRAWN_ACROSS = 12
SIDES = ((512, 512), (896, 1152))
_AT_ONCE = 8


def drawn_sheet(seed: int) -> Image.Image:
    """What the world holds, as it is drawn: things, grounds, then four pictures in every rendering and look."""
    rng = random.Random(seed)
    scenes = [_scene(kind, tuple(COLOURS)[number % 10], "gray") for number, kind in enumerate(KINDS)]
    scenes += [_scene("butterfly", "orange", "purple", pattern) for pattern in GROUNDS]
    examples = [_scene(*example) for example in EXAMPLES]
    pictures = [compose(scene, *SIDES[0], rng) for scene in scenes]
    for rendering in RENDERINGS[1:]:
        pictures += [compose(replace(scene, rendering=rendering), *SIDES[0], rng) for scene in examples]
    for look in LOOKS.values():
        pictures += [compose(scene, *SIDES[0], rng, look) for scene in examples]
    drawn = [render(picture, whole(picture, 4)) for picture in pictures]
    drawn += [torch.ones(3, 128, 128)] * (-len(drawn) % DRAWN_ACROSS)
    return tiled([torch.stack(drawn[at : at + DRAWN_ACROSS]) for at in range(0, len(drawn), DRAWN_ACROSS)])


def _scene(kind: str, colour: str, ground: str, pattern: str = "plain") -> Scene:
    other = "red" if colour == ground else colour
    return Scene((Thing(kind, other, "medium", "centre"),), Ground(pattern, ground, "cyan"))


def painted_sheet(
    unet: UNet2DConditionModel, encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection], seed: int
) -> Image.Image:
    """The standing prompts, eight in a row, small and large, as mean colours: no decoder is needed yet."""
    rows = []
    for size in SIDES:
        for first in range(0, len(PROMPTS), _AT_ONCE):
            told = encode(PROMPTS[first : first + _AT_ONCE], encoders)
            rows.append(cells_of(paint(unet, told, size, seed)))
    return tiled(rows)


def decoded_sheet(vae: AutoencoderKL, seed: int) -> Image.Image:
    """Windows of scenes, and below each what the decoder makes of its latents."""
    rng = random.Random(seed)
    taught = [lesson(rng, Crop(8, 5)) for _ in range(2)]
    with torch.no_grad():
        rows = [row for one in taught for row in (one.pixels, vae.decode(one.latents).sample)]
    return tiled([(row + 1) / 2 for row in rows])


def tiled(rows: list[Tensor]) -> Image.Image:
    """Rows of pictures [pictures, 3, height, width] in 0..1, those of all rows as wide."""
    width = max(row.shape[3] for row in rows)
    bands = []
    for row in rows:
        scale = width / row.shape[3]
        enlarged = F.interpolate(row.clamp(0, 1), scale_factor=scale, mode="nearest") if scale > 1 else row.clamp(0, 1)
        bands.append(torch.cat([F.pad(picture, (1, 1, 1, 1)) for picture in enlarged], dim=2))
    whole = torch.cat(bands, dim=1)
    return Image.fromarray((whole * 255).round().byte().permute(1, 2, 0).numpy())
