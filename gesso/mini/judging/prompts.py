"""The plain words in which an examination asks for things."""

import random

from gesso.mini.judging.examination import dealt
from gesso.mini.world.captions import article
from gesso.mini.world.scenes import COLOURS, KINDS, NATURAL, VIEWS, Ground, Scene, Thing
from gesso.mini.world.vocabulary import GROUND_WORDS, RELATION_WORDS

VIVID = tuple(colour for colour in COLOURS if colour not in ("white", "black", "gray", "brown"))
"""Colours that can be meant more strongly, and that any shading is seen in."""
SHAPES = tuple(kind for kind in KINDS if kind not in NATURAL)
"""Kinds that stand on plain white when no ground is named."""
_PLACES = {
    "centre": "",
    "left": " on the left",
    "right": " on the right",
    "top": " at the top",
    "bottom": " at the bottom",
}


def lone_scenes(count: int, rng: random.Random) -> list[Scene]:
    """One thing on a plain ground each: all kinds, all colours, five places."""
    decks = [dealt(names, count, rng) for names in (KINDS, tuple(COLOURS), tuple(_PLACES))]
    scenes = []
    for kind, colour, place in zip(*decks, strict=True):
        ground = rng.choice([name for name in COLOURS if name != colour])
        scenes.append(Scene((Thing(kind, colour, "medium", place),), Ground("plain", ground, ground)))
    return scenes


def told(scene: Scene) -> str:
    """One thing on a plain ground."""
    thing = scene.things[0]
    return f"{article(f'{thing.colour} {thing.kind}')}{_PLACES[thing.place]} {on(scene.ground.first)}"


def related(relation: str, scene: Scene) -> str:
    """The first of two things in its relation to the second, on a plain ground. `relation` is of RELATION_WORDS."""
    first, second = (article(f"{thing.colour} {thing.kind}") for thing in scene.things)
    return f"{first} {RELATION_WORDS[relation][0]} {second} {on(scene.ground.first)}"


def on(ground: str) -> str:
    return f"on {article(ground)} background"


def vivid(rng: random.Random) -> str:
    """Something on a plain ground."""
    own, ground = rng.sample(VIVID, 2)
    return f"{article(f'{own} {rng.choice(KINDS)}')} {on(ground)}"


def varied(rng: random.Random) -> str:
    """Something on a plain ground or in a view."""
    own, ground = rng.sample(VIVID, 2)
    where = rng.choice((on(ground), *(GROUND_WORDS[view][0] for view in VIEWS)))
    return f"{article(f'{own} {rng.choice(KINDS)}')} {where}"
