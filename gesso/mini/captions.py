"""The words of the world: what a person might ask for when they mean a scene.

A caption may leave things out, use other words for the same, and be wrapped in words that mean nothing here
("masterpiece", "photo of", words drawn at random), as real prompts are. It knows which attributes it names.
"""

import random
from dataclasses import dataclass

from gesso.mini.scenes import Ground, Scene, Thing

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "ball", "sphere", "dot"),
    "square": ("square", "box", "cube"),
    "triangle": ("triangle", "pyramid"),
    "star": ("star",),
    "heart": ("heart",),
    "diamond": ("diamond", "rhombus"),
    "ring": ("ring", "donut", "hoop"),
    "cross": ("cross", "plus sign"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "cyan": ("cyan", "turquoise", "teal"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
    "black": ("black",),
    "gray": ("gray", "grey", "silver"),
    "brown": ("brown",),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little"),
    "medium": ("",),
    "large": ("large", "big", "huge"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "centre": ("", "", "", "", "in the center", "in the middle", "centered"),
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "top": ("at the top", "on top"),
    "bottom": ("at the bottom",),
    "top left": ("in the top left corner", "in the upper left", "at the top left"),
    "top right": ("in the top right corner", "in the upper right", "at the top right"),
    "bottom left": ("in the bottom left corner", "in the lower left", "at the bottom left"),
    "bottom right": ("in the bottom right corner", "in the lower right", "at the bottom right"),
}
GROUND_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("{first} background", "{first} background", "plain {first} background", "{first} backdrop"),
    "gradient": ("{first} to {second} gradient background", "{first} and {second} gradient background"),
    "stripes": ("{first} and {second} striped background", "background of {first} and {second} stripes"),
    "checks": ("{first} and {second} checkered background", "{first} and {second} checkerboard background"),
}
STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "flat": ("",),
    "outline": ("outline", "line art", "outline drawing"),
    "glow": ("neon glow", "glowing", "neon"),
}
PAIR_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("and", "and", "next to", "left of", "to the left of"),
    "top": ("and", "above", "above", "over"),
}
OPENINGS = (
    "a photo of",
    "a picture of",
    "an image of",
    "a painting of",
    "an illustration of",
    "a drawing of",
    "a cinematic photo of",
    "cinematic film still,",
    "masterpiece, best quality,",
    "high quality render of",
    "beautiful",
    "professional photograph of",
)
ENDINGS = (
    "high quality",
    "best quality",
    "highly detailed",
    "detailed",
    "4k",
    "8k",
    "sharp focus",
    "cinematic lighting",
    "cinematic",
    "masterpiece",
    "trending on artstation",
    "digital art",
    "concept art",
    "photorealistic",
    "ultra realistic",
    "studio lighting",
    "vivid colors",
    "minimalist",
    "intricate",
    "award winning",
    "soft light",
    "35mm",
    "bokeh",
    "unreal engine",
)


@dataclass(frozen=True)
class Caption:
    """`named`: the attributes that the text settles (see `attributes`); the others were left open."""

    text: str
    named: frozenset[str]


def world_words() -> frozenset[str]:
    """Every word that means something in a scene."""
    tables = (SHAPE_WORDS, COLOUR_WORDS, SIZE_WORDS, PLACE_WORDS, GROUND_WORDS, STYLE_WORDS, PAIR_WORDS)
    return frozenset(
        word for table in tables for phrases in table.values() for text in phrases for word in text.split()
    )


def caption_of(scene: Scene, rng: random.Random) -> Caption:
    """Tell a scene in plain words, now and then leaving out a colour or the ground."""
    named = {"count", "size", "style"}
    sparing = rng.random() < 0.12
    text = _pair(scene, rng, sparing, named) if len(scene.things) == 2 else _lone(scene.things[0], rng, sparing, named)
    if not (sparing and rng.random() < 0.5):
        text += rng.choice((" on {}", " on {}", ", {}", " over {}", " with {}")).format(
            _ground(scene.ground, rng, named)
        )
    style = rng.choice(STYLE_WORDS[scene.style])
    return Caption(f"{text}, {style}" if style else text, frozenset(named))


def wrapped(caption: Caption, rng: random.Random, words: tuple[str, ...], most: int = 12) -> Caption:
    """Put words without meaning around a caption: stock phrases, and up to `most` drawn from `words`."""
    text = caption.text
    if rng.random() < 0.5:
        text = f"{rng.choice(OPENINGS)} {text}"
    if rng.random() < 0.15:
        text = f"{noise(rng, words, 4)}, {text}"
    if rng.random() < 0.6:
        text = ", ".join((text, *rng.sample(ENDINGS, rng.randint(1, 4))))
    if rng.random() < 0.4:
        text = f"{text}, {noise(rng, words, most)}"
    return Caption(text, caption.named)


def noise(rng: random.Random, words: tuple[str, ...], most: int) -> str:
    """Up to `most` words in a row that mean nothing here."""
    return " ".join(rng.choices(words, k=rng.randint(1, most)))


def _word(table: dict[str, tuple[str, ...]], name: str, rng: random.Random) -> str:
    """The usual word for a name, now and then one of its others."""
    return table[name][0] if rng.random() < 0.8 else rng.choice(table[name])


def _noun(thing: Thing, rng: random.Random, sparing: bool, suffix: str, named: set[str]) -> str:
    named.add("shape" + suffix)
    shape = _word(SHAPE_WORDS, thing.shape, rng)
    if sparing and rng.random() < 0.4:
        return shape
    named.add("colour" + suffix)
    return f"{_word(COLOUR_WORDS, thing.colour, rng)} {shape}"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _lone(thing: Thing, rng: random.Random, sparing: bool, named: set[str]) -> str:
    named.add("place")
    noun = f"{rng.choice(SIZE_WORDS[thing.size])} {_noun(thing, rng, sparing, '', named)}".strip()
    text = _article(noun) if rng.random() < 0.6 else noun
    return f"{text} {rng.choice(PLACE_WORDS[thing.place])}".strip()


def _pair(scene: Scene, rng: random.Random, sparing: bool, named: set[str]) -> str:
    first = _noun(scene.things[0], rng, sparing, "", named)
    second = _noun(scene.things[1], rng, sparing, " of second", named)
    joint = rng.choice(PAIR_WORDS[scene.things[0].place])
    if joint != "and":
        named.add("place")
    if rng.random() < 0.7:
        first, second = _article(first), _article(second)
    return f"{first} {joint} {second}"


def _ground(ground: Ground, rng: random.Random, named: set[str]) -> str:
    named.update(("pattern", "ground"))
    if ground.pattern != "plain":
        named.add("second ground")
    first, second = _word(COLOUR_WORDS, ground.first, rng), _word(COLOUR_WORDS, ground.second, rng)
    text = rng.choice(GROUND_WORDS[ground.pattern]).format(first=first, second=second)
    return _article(text) if rng.random() < 0.6 else text


def attributes(scene: Scene) -> dict[str, str]:
    """What can be asked about a scene; `of second` only where there is a second thing."""
    first = scene.things[0]
    answers = {
        "shape": first.shape,
        "colour": first.colour,
        "size": first.size,
        "place": first.place,
        "pattern": scene.ground.pattern,
        "ground": scene.ground.first,
        "second ground": scene.ground.second,
        "style": scene.style,
        "count": str(len(scene.things)),
    }
    if len(scene.things) == 2:
        answers |= {"shape of second": scene.things[1].shape, "colour of second": scene.things[1].colour}
    return answers
