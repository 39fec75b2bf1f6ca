"""Sheets to look at and scores to note while a training runs: standing prompts, and an examination by `judging`."""

import random
from collections import Counter

import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

from gesso.mini.judging import examination, look_at
from gesso.mini.sampling import Studio
from gesso.mini.scenes import Scene

PROMPTS = (
    "a red circle on a blue background",
    "a yellow star on a black background",
    "a pink heart on a white background",
    "a green triangle on a yellow background",
    "a blue square on an orange background",
    "a purple diamond on a green background",
    "a white ring on a red background",
    "a black cross on a cyan background",
    "an orange star on a purple background",
    "a large brown heart on a pink background",
    "a small green square on a white background",
    "a cyan ring on a black background",
    "a red star on the left on a white background",
    "a blue circle at the top on a yellow background",
    "a red heart and a blue square on a white background",
    "a yellow circle on a blue to purple gradient background",
    "a photo of a red heart on a white background, masterpiece, best quality, 8k",
    "cinematic film still of a golden star on a black background, highly detailed, sharp focus",
    "a panda in a spacesuit",
    "a white circle on a red and green checkered background",
    "a green circle above a red square on a gray background",
    "a black triangle in the bottom right corner on a pink background",
    "a pink diamond, neon glow, on a black background",
    "a blue cross on a yellow and white striped background",
)
ASPECTS = ("shape", "colour", "ground", "place")
_AT_ONCE = 8


def sheet(studio: Studio, size: tuple[int, int], seed: int) -> Image.Image:
    """The standing prompts, eight in a row, at a quarter of their size."""
    rows = [studio.pictures(PROMPTS[i : i + _AT_ONCE], size, seed) for i in range(0, len(PROMPTS), _AT_ONCE)]
    small = [F.pad(F.avg_pool2d(row, 4), (2, 2, 2, 2)) for row in rows]
    width, height = small[0].shape[3], small[0].shape[2]
    whole = Image.new("RGB", (_AT_ONCE * width, len(rows) * height))
    for number, row in enumerate(small):
        for column, picture in enumerate(row):
            whole.paste(_image(picture), (column * width, number * height))
    return whole


def examine(studio: Studio, size: tuple[int, int], count: int, seed: int) -> Counter[str]:
    """How many of `count` pictures show the right shape, colour, ground and place, and how many all four ("all")."""
    score: Counter[str] = Counter()
    questions = examination(random.Random(seed), count)
    for first in range(0, count, _AT_ONCE):
        part = questions[first : first + _AT_ONCE]
        painted = studio.pictures([caption.text for _, caption in part], size, seed + first)
        for (scene, _), picture in zip(part, F.avg_pool2d(painted, 4), strict=True):
            right = _right(scene, picture)
            score.update(right + ["all"] * (len(right) == len(ASPECTS)))
    return score


def _right(scene: Scene, picture: Tensor) -> list[str]:
    seen, thing = look_at(picture), scene.things[0]
    asked = {"shape": thing.shape, "colour": thing.colour, "ground": scene.ground.first, "place": thing.place}
    return [aspect for aspect in ASPECTS if getattr(seen, aspect) == asked[aspect]]


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())
