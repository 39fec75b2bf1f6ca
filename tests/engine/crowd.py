"""A crowd: random requests of every kind, painted together as they happen to arrive, or each one alone."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from gesso.diffusion.names import IMAGE_TO_IMAGE, TEXT_TO_IMAGE
from gesso.engine.messages import CheckpointFiles, LoraFile, Paint, Pixels, Refinement, StartImage
from gesso.engine.models import Models
from gesso.prompt.understanding import understand
from tests.engine.recording import RecordingLoop
from tests.tiny import write_tiny, write_tiny_lora

Pictures = dict[tuple[str, int], Pixels]

SIZES = [(256, 384), (384, 256), (384, 384)]
GUIDANCES = [7.5, 4.5, 25.0, 1.0, 0.5]
PROMPTS = [
    "a red boat",
    "((cinematic photo:1.3)) of a [boat:house:0.5], (fog)",
    "[a|b|] castle BREAK by the [sea::3]",
    "boat " * 90,
    "\\(a\\) [[[lake]]]",
]
NEGATIVES = ["", "fog", "[deformed | disfigured], poorly drawn, [bad : wrong] anatomy", "dark " * 80]
LORAS = ("ink", "clay")
MOST_PRESENT = 12
TROUBLE = "trouble"


def write_checkpoints(folder: Path) -> Path:
    """Two bases of unlike predictions, a refiner, and LoRAs."""
    write_tiny(folder / "one.safetensors", "base", "epsilon", seed=0)
    write_tiny(folder / "other.safetensors", "base", "v_prediction", seed=2)
    write_tiny(folder / "refiner.safetensors", "refiner", "epsilon", seed=1)
    for seed, name in enumerate(LORAS):
        write_tiny_lora(folder / f"{name}.safetensors", seed)
    return folder


def requests(folder: Path, count: int, seed: int, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Paint]:
    """Every scheduler of either list comes up in turn."""
    dice = random.Random(seed)
    return [_request(folder, number, dice.choice(sizes), dice) for number in range(count)]


def _request(folder: Path, number: int, size: tuple[int, int], dice: random.Random) -> Paint:
    width, height = size
    start, refinement = None, None
    names = IMAGE_TO_IMAGE if number % 2 else TEXT_TO_IMAGE
    if number % 2:
        picture = Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), dice.randint(2, 90)).convert("RGB")
        start = StartImage(Pixels(width, height, picture.tobytes()), dice.choice([0.3, 0.65, 1.0]))
    elif dice.random() < 0.4:
        files = CheckpointFiles("refiner", str(folder / "refiner.safetensors"))
        refinement = Refinement(files, dice.choice([0.8, 0.4, 0.0]), 0.4)
    name = dice.choice(["one", "other"])
    steps = dice.randint(4, 7)
    first = dice.choice([number, number + 2**33])
    return Paint(
        id=str(number),
        checkpoint=CheckpointFiles(name, str(folder / f"{name}.safetensors"), loras=_loras(folder, dice)),
        prompt=understand(dice.choice(PROMPTS), steps).schedule,
        negative_prompt=understand(dice.choice(NEGATIVES), steps).schedule,
        scheduler=names[number // 2 % len(names)],
        steps=steps,
        guidance_scale=dice.choice(GUIDANCES),
        width=width,
        height=height,
        seeds=tuple(range(first, first + dice.choice([1, 1, 1, 1, 2, 4]))),
        start=start,
        refinement=refinement,
    )


def _loras(folder: Path, dice: random.Random) -> tuple[LoraFile, ...]:
    """Some requests have both."""
    names = LORAS if dice.random() < 0.15 else ()
    return tuple(LoraFile(name, str(folder / f"{name}.safetensors"), 0.7, 0.7) for name in names)


def alone(models: Models, requests: list[Paint]) -> Pictures:
    """Each request in a loop of its own."""
    pictures: Pictures = {}
    for request in requests:
        loop = RecordingLoop(models)
        loop.paint(request)
        pictures |= _all_of(loop)
    return pictures


def together(models: Models, requests: list[Paint], seed: int, trouble: bool = False) -> Pictures:
    """All in one loop, arriving one or a few at a time; with trouble, among others that are cancelled or fail."""
    dice = random.Random(seed)
    loop = RecordingLoop(models)
    coming = list(reversed(requests))
    while coming or not loop.idle:
        if loop.images < MOST_PRESENT:
            for _ in range(min(dice.randint(0, 3), len(coming))):
                loop.submit(coming.pop())
                if trouble and dice.random() < 0.3:
                    _submit_trouble(loop, dice, requests)
        loop.turn()
        if trouble:
            _make_trouble(loop, dice)
    pictures = {place: pixels for place, pixels in loop.pictures().items() if not place[0].startswith(TROUBLE)}
    assert {failure.id.rpartition(" ")[0] for failure in loop.failures()} <= {f"{TROUBLE} lost", f"{TROUBLE} poisoned"}
    if trouble:
        assert {failure.reason for failure in loop.failures()} == {"unavailable", "failed"}
    return pictures


def _submit_trouble(loop: RecordingLoop, dice: random.Random, requests: list[Paint]) -> None:
    """A request that will be cancelled, whose checkpoint is not there, or whose latents will be spoilt."""
    kind = dice.choice(["cancelled", "lost", "poisoned"])
    request = replace(dice.choice(requests), id=f"{TROUBLE} {kind} {loop.ticks}-{dice.random()}")
    if kind == "lost":
        request = replace(request, checkpoint=CheckpointFiles("lost", request.checkpoint.unet + ".lost"))
    loop.submit(request)


def _make_trouble(loop: RecordingLoop, dice: random.Random) -> None:
    for image in list(loop._flight):
        if image.request.id.startswith(f"{TROUBLE} poisoned") and dice.random() < 0.5:
            with torch.inference_mode():
                image.slab.latents[image.slot] = torch.nan
        elif image.request.id.startswith(f"{TROUBLE} cancelled") and dice.random() < 0.2:
            loop.cancel(image.request.id)


def _all_of(loop: RecordingLoop) -> Pictures:
    assert not loop.failures(), loop.failures()
    return loop.pictures()


def unequal(some: Pictures, others: Pictures) -> list[tuple[str, int]]:
    """The pictures that differ in any byte."""
    assert some.keys() == others.keys()
    return [place for place in some if some[place] != others[place]]
