"""Questions that a picture answers by itself: is it of the colour, the kind, the rendering that was asked for?

What is asked is drawn by a chance that is always the same, with every kind, relation or word about equally often.
"""

import random

import torch
from torch import Tensor

from gesso.mini.judging import manners
from gesso.mini.judging.examination import (
    SMALL,
    Answer,
    Asked,
    Finding,
    Paint,
    Question,
    Row,
    Size,
    asked,
    dealt,
    edited,
    examined,
)
from gesso.mini.judging.manners import Hand
from gesso.mini.judging.prompts import lone_scenes, on, related, told, varied, vivid
from gesso.mini.judging.things import Seen, look_at, look_at_two, number_of_things
from gesso.mini.world.captions import attributes, plural
from gesso.mini.world.looks import LOOKS
from gesso.mini.world.scenes import COLOURS, KINDS, RENDERINGS, Ground, Scene, Thing
from gesso.mini.world.vocabulary import COUNT_WORDS, RELATION_WORDS, RENDERING_WORDS, STYLES

COLOUR_GOAL, KIND_GOAL, RELATION_GOAL, RENDERING_GOAL, LOOK_GOAL = 0.95, 0.9, 0.7, 0.8, 0.9
APART = 0.2
"""How far a thing is beside or above another at least, in halves of the short side."""
OWN_SLUGS = {look: f"sdxl1.0-{look}" for look in ("timeless", "dreamshaper", "realvis")}
"""The looks that paint from text alone. The others start from plain grey, of which they are to keep nothing."""


def singles(paint: Paint, count: int, name: str, size: Size = SMALL, **more: object) -> list[Row]:
    """One thing on a plain ground: its colour and kind; without goals, its ground and place."""
    scenes = lone_scenes(count, random.Random(1))
    questions = [_single(scene, name, asked(told(scene), seed, size, **more)) for seed, scene in enumerate(scenes)]
    return examined(paint, questions, {f"colour, {name}": COLOUR_GOAL, f"kind, {name}": KIND_GOAL})


def _single(scene: Scene, name: str, request: Asked) -> Question:
    wanted = attributes(scene)

    def check(picture: Tensor) -> Answer:
        seen = look_at(picture)
        found = {attribute: str(getattr(seen, attribute)) for attribute in ("colour", "kind", "ground", "place")}
        return Answer(
            f"{_shown(seen)}, {seen.place}",
            {f"{attribute}, {name}": _named(wanted[attribute], value) for attribute, value in found.items()},
        )

    return Question(request, check)


def pairs(paint: Paint, count: int) -> list[Row]:
    """One thing left of, right of, above or below another; without a goal, their colours too."""
    rng = random.Random(2)
    questions = [_pair(relation, seed, rng) for seed, relation in enumerate(dealt(RELATION_WORDS, count, rng))]
    return examined(paint, questions, {"relation, kinds": RELATION_GOAL})


def _pair(relation: str, seed: int, rng: random.Random) -> Question:
    own, others, ground = rng.sample(tuple(COLOURS), 3)
    kinds = rng.sample(KINDS, 2)
    things = (Thing(kinds[0], own, "medium", "centre"), Thing(kinds[1], others, "medium", "centre"))

    def check(picture: Tensor) -> Answer:
        first, second = _in_relation(relation, *look_at_two(picture))
        stands = _apart(relation, first, second) and [first.kind, second.kind] == kinds
        entire = stands and (first.colour, second.colour) == (own, others)
        findings = {"relation, kinds, colours": Finding(entire, relation), "relation, kinds": Finding(stands, relation)}
        return Answer(f"{_shown(first)}, {_shown(second)}", findings)

    return Question(asked(related(relation, Scene(things, Ground("plain", ground, ground))), seed), check)


def _in_relation(relation: str, one: Seen, other: Seen) -> tuple[Seen, Seen]:
    """The thing first that would be the relation's subject."""
    ordered = sorted((one, other), key=lambda seen: seen.x if relation in ("left", "right") else seen.y)
    return (ordered[0], ordered[1]) if relation in ("left", "top") else (ordered[1], ordered[0])


def _apart(relation: str, one: Seen, other: Seen) -> bool:
    return abs(one.x - other.x if relation in ("left", "right") else one.y - other.y) > APART


def renderings(paint: Paint, each: int) -> list[Row]:
    """All renderings but the flat one, by all of their words in turn."""
    rng = random.Random(3)
    questions: list[Question] = []
    for number in range(each):
        for rendering in RENDERINGS[1:]:
            words = RENDERING_WORDS[rendering]
            request = asked(f"{varied(rng)}, {words[number % len(words)]}", len(questions))
            questions.append(_by_hand(manners.renderings(), f"rendering: {rendering}", rendering, request))
    return examined(paint, questions, {f"rendering: {rendering}": RENDERING_GOAL for rendering in RENDERINGS})


def styles(paint: Paint, count: int) -> list[Row]:
    """Styles of the catalogue that ask for a rendering, by the parameter of that name."""
    rng, questions = random.Random(4), []
    for seed, style in enumerate(dealt(STYLES, count, rng)):
        request = asked(varied(rng), seed, style=style)
        questions.append(_by_hand(manners.renderings(), "styles", STYLES[style], request))
    return examined(paint, questions, {"styles": RENDERING_GOAL})


def looks(paint: Paint, each: int) -> list[Row]:
    """The same prompts and seeds with all six looks."""
    rng = random.Random(5)
    prompts = [vivid(rng) for _ in range(each)]
    questions = [
        _by_hand(manners.looks(), f"look: {look}", look, _looked(look, prompt, seed))
        for look in LOOKS
        for seed, prompt in enumerate(prompts)
    ]
    return examined(paint, questions, {f"look: {look}": LOOK_GOAL for look in LOOKS})


def _looked(look: str, prompt: str, seed: int) -> Asked:
    if look in OWN_SLUGS:
        return Asked(asked(prompt, seed).body, OWN_SLUGS[look])
    return edited(torch.full((3, *SMALL), 0.5), prompt, seed, base_model=look, strength=1.0)


def _by_hand(hand: Hand, row: str, wanted: str, request: Asked) -> Question:
    def check(picture: Tensor) -> Answer:
        found = hand.name(picture)
        return Answer(f"{found} for {wanted}", {row: _named(wanted, found)})

    return Question(request, check)


def counts(paint: Paint, count: int) -> list[Row]:
    """Two, three or four of a kind. Has no goal."""
    rng = random.Random(6)
    questions = [_count(number, seed, rng) for seed, number in enumerate(dealt(COUNT_WORDS, count, rng))]
    return examined(paint, questions, {})


def _count(number: int, seed: int, rng: random.Random) -> Question:
    own, ground = rng.sample(tuple(COLOURS), 2)

    def check(picture: Tensor) -> Answer:
        found = number_of_things(picture)
        return Answer(str(found), {"count": _named(str(number), str(found))})

    return Question(asked(f"{COUNT_WORDS[number][0]} {own} {plural(rng.choice(KINDS))} {on(ground)}", seed), check)


def _named(wanted: str, found: str) -> Finding:
    return Finding(found == wanted, f"{wanted} as {found}")


def _shown(seen: Seen) -> str:
    return f"{seen.colour} {seen.kind} on {seen.ground}"
