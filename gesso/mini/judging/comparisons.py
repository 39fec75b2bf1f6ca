"""Questions that pictures answer side by side: what a negative prompt, a weight, a strength or the refiner changes."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor

from gesso.mini.judging import manners
from gesso.mini.judging.clarity import noise, sharpness
from gesso.mini.judging.examination import (
    Answer,
    Asked,
    Comparison,
    Finding,
    Paint,
    Row,
    Verdict,
    asked,
    compared,
    dealt,
    edited,
    together,
)
from gesso.mini.judging.patches import sampled
from gesso.mini.judging.prompts import SHAPES, VIVID, lone_scenes, on, told, varied, vivid
from gesso.mini.judging.things import NOTHING, look_at
from gesso.mini.world.captions import article
from gesso.mini.world.paints import grey, named
from gesso.mini.world.scenes import KINDS, RENDERINGS
from gesso.mini.world.vocabulary import RENDERING_WORDS

NEGATIVE_GOAL, WEIGHT_GOAL, STRENGTH_GOAL, REFINER_GOAL = 0.8, 0.8, 0.9, 0.7
LIGHT, HEAVY = 0.5, 1.5
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
BASE_MODELS = ("juggernaut", "realvis", "protovision", "yamers_realistic")
SOMETHING = 0.005
"""The share of a picture that a thing covers at least."""
_Measure = Callable[[Tensor], float]


def negatives(paint: Paint, count: int) -> list[Row]:
    """What is left open, a colour, a kind or a ground, comes out somehow; refused by name, it comes out otherwise."""
    rng = random.Random(7)
    open_ones = dealt(("colour", "kind", "ground"), count, rng)
    rows = compared(paint, [_refusal(attribute, seed, rng) for seed, attribute in enumerate(open_ones)], {})
    return [together("negative prompts", rows, NEGATIVE_GOAL), *rows]


def _refusal(attribute: str, seed: int, rng: random.Random) -> Comparison:
    prompt, refused = _left_open(attribute, rng)

    def refusing(before: Tensor) -> Asked:
        return asked(prompt, seed, negative_prompt=refused.format(getattr(look_at(before), attribute)))

    def check(before: Tensor, after: Tensor) -> Answer:
        came, seen = str(getattr(look_at(before), attribute)), look_at(after)
        instead = str(getattr(seen, attribute))
        gone = instead != came and seen.area > SOMETHING
        findings = {f"negative prompts: {attribute}": Finding(gone, came)} if came != NOTHING else {}
        return Answer(f"{came}, without it {instead}", findings)

    return Comparison(asked(prompt, seed), refusing, check)


def _left_open(attribute: str, rng: random.Random) -> tuple[str, str]:
    """A prompt that does not say which, and how a negative prompt names it."""
    own, ground = rng.sample(VIVID, 2)
    return {
        "colour": (f"{article(rng.choice(KINDS))} {on('white')}", "{}"),
        "kind": (f"{own}, {ground} background", "{}"),
        "ground": (article(f"{own} {rng.choice(SHAPES)}"), "{} background"),
    }[attribute]


def weights(paint: Paint, count: int) -> list[Row]:
    """`(word:1.5)` against `(word:0.5)`: larger or smaller, stronger in colour, further from flat."""
    rng = random.Random(8)
    meant = dealt(_WEIGHED, count, rng)
    rows = compared(paint, [_weighing(attribute, seed, rng) for seed, attribute in enumerate(meant)], {})
    return [together("weights", rows, WEIGHT_GOAL), *rows]


def _weighing(attribute: str, seed: int, rng: random.Random) -> Comparison:
    word, prompt, measure = _WEIGHED[attribute](rng)
    light, heavy = (asked(prompt.replace(word, f"({word}:{weight})"), seed) for weight in (LIGHT, HEAVY))

    def check(lightly: Tensor, heavily: Tensor) -> Answer:
        less, more = measure(lightly), measure(heavily)
        return Answer(f"{less:.3g} to {more:.3g}", {f"weights: {attribute}": Finding(more > less, word)})

    return Comparison(light, lambda _: heavy, check)


def _sized(rng: random.Random) -> tuple[str, str, _Measure]:
    """The word that is weighed, the prompt, and what is to be more of."""
    word, sign = rng.choice((("large", 1), ("small", -1)))
    return word, f"a {word} {vivid(rng).split(' ', 1)[1]}", lambda picture: sign * look_at(picture).area


def _coloured(rng: random.Random) -> tuple[str, str, _Measure]:
    colour = rng.choice(VIVID)
    away = (named(colour) - grey(named(colour))).flatten()

    def strength(picture: Tensor) -> float:
        """How far from grey the thing is, the colour's own way; the true colour is at 1."""
        rgb = torch.tensor(look_at(picture).rgb).view(3, 1, 1)
        return float((rgb - grey(rgb)).flatten() @ away / (away @ away))

    return colour, f"{article(f'{colour} {rng.choice(KINDS)}')} {on('gray')}", strength


def _rendered(rng: random.Random) -> tuple[str, str, _Measure]:
    rendering = rng.choice(RENDERINGS[1:])
    word = RENDERING_WORDS[rendering][0]
    return word, f"{varied(rng)}, {word}", lambda picture: manners.renderings().lead(picture, rendering, "flat")


_WEIGHED = {"size": _sized, "colour": _coloured, "rendering": _rendered}


def strengths(paint: Paint, count: int) -> list[Row]:
    """Image to image moves the further away from its start the greater the strength, with every base model."""
    rng = random.Random(9)
    starts = list(paint([asked(told(scene), seed) for seed, scene in enumerate(lone_scenes(count, rng))]))
    aims = [vivid(rng) for _ in starts]
    edits = [
        edited(start, aim, seed, strength=strength, base_model=BASE_MODELS[seed % len(BASE_MODELS)])
        for seed, (start, aim) in enumerate(zip(starts, aims, strict=True))
        for strength in STRENGTHS
    ]
    painted = list(paint(edits))
    series = [painted[first : first + len(STRENGTHS)] for first in range(0, len(painted), len(STRENGTHS))]
    return _moved(starts, aims, series)


def _moved(starts: Sequence[Tensor], aims: Sequence[str], series: Sequence[Sequence[Tensor]]) -> list[Row]:
    """`series`: of each start, what became of it at STRENGTHS."""
    ways = [[float((one - start).abs().mean()) for one in own] for start, own in zip(starts, series, strict=True)]
    each = [
        Verdict(finding, f"{aim}: {_listed(way)}", tuple(sampled(one) for one in (start, *own)))
        for start, aim, own, way in zip(starts, aims, series, ways, strict=True)
        for finding in _rising(way)
    ]
    mean = [fmean(column) for column in zip(*ways, strict=True)]
    overall = tuple(Verdict(finding, _listed(mean), ()) for finding in _rising(mean))
    return [
        Row("strength: neighbours in order", tuple(each), STRENGTH_GOAL),
        Row("strength: means in order", overall, 1.0, _listed(mean)),
    ]


def _rising(way: Sequence[float]) -> list[Finding]:
    """Of every two neighbours, whether the second is further."""
    steps = zip(pairwise(STRENGTHS), pairwise(way), strict=True)
    return [Finding(more > less, f"{low} to {high}") for (low, high), (less, more) in steps]


def _listed(way: Sequence[float]) -> str:
    return " ".join(f"{distance:.3f}" for distance in way)


def refinement(paint: Paint, count: int) -> list[Row]:
    """The refiner from 0.8 on, against the base to the end: less noise is to be left; without a goal, sharper edges."""
    rng = random.Random(10)
    texts = [told(scene) for scene in lone_scenes(count, rng)]
    plain, refined = (
        list(paint([asked(text, seed, high_noise_fraction=0.8, refiner=refiner) for seed, text in enumerate(texts)]))
        for refiner in (False, True)
    )
    couples = list(zip(plain, refined, strict=True))
    cleaner = _improved("refiner: less noise", noise, texts, couples, falls=True)
    return [replace(cleaner, goal=REFINER_GOAL), _improved("refiner: sharper", sharpness, texts, couples, falls=False)]


def _improved(
    name: str, measure: _Measure, texts: Sequence[str], couples: Sequence[tuple[Tensor, Tensor]], *, falls: bool
) -> Row:
    """How often a measure rises, or `falls`, from a picture to the other; and to how many times what it was."""
    verdicts, ratios = [], []
    for text, couple in zip(texts, couples, strict=True):
        was, became = (measure(picture) for picture in couple)
        right = became < was if falls else became > was
        ratios.append(became / max(was, 1e-6))
        small = tuple(sampled(picture) for picture in couple)
        verdicts.append(Verdict(Finding(right, "other way"), f"{text}: {was:.4f} to {became:.4f}", small))
    return Row(name, tuple(verdicts), note=f"{fmean(ratios):.3f} times")
