"""The words of the world: what a person might ask for when they mean a scene.

A caption may leave things out, use other words for the same, weigh a word as AUTOMATIC1111's syntax does, and be
wrapped in words that mean nothing here ("masterpiece", words drawn at random), as real prompts are. It knows which
attributes it names.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gesso.mini.world.scenes import BARE, NATURAL, VIEWS, Scene, Thing
from gesso.mini.world.vocabulary import (
    COLOUR_WORDS,
    COUNT_WORDS,
    ENDINGS,
    GROUND_WORDS,
    KIND_WORDS,
    OPENINGS,
    PLACE_WORDS,
    PLURALS,
    RELATION_WORDS,
    RENDERING_WORDS,
    SIZE_WORDS,
    Words,
)


@dataclass(frozen=True)
class Caption:
    """`named`: the attributes that the text settles (see `attributes`); the others were left open."""

    text: str
    named: frozenset[str]


SUFFIXES = ("", " of second")


class _Telling:
    """One scene being told: chooses words, keeps account of what they name."""

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene = scene
        self.rng = rng
        self.named = {"count"}
        self.sparing = rng.random() < 0.12

    def caption(self, with_rendering: bool) -> Caption:
        if len(self.scene.things) == 2:
            text = self._pair()
        elif self.scene.count > 1:
            text = self._several()
        else:
            text = self._lone()
        ground = self._ground()
        if ground:
            text += f"{'' if ground.startswith(('on', 'in', 'at', 'under', 'before')) else ','} {ground}"
        self.named.add("rendering")
        rendering = self.rng.choice(RENDERING_WORDS[self.scene.rendering])
        if not rendering or not with_rendering:
            return Caption(text, frozenset(self.named))
        rendering = self._weighted(rendering, "rendering")
        text = f"{text}, {rendering}" if self.rng.random() < 0.7 else f"{rendering} of {text}"
        return Caption(text, frozenset(self.named))

    def _word(self, table: Words, name: str) -> str:
        """The usual word for a name, now and then one of its others."""
        return table[name][0] if self.rng.random() < 0.75 else self.rng.choice(table[name])

    def _weighted(self, words: str, attribute: str) -> str:
        weight = self.scene.weight(attribute)
        return words if weight == 1 else f"({words}:{weight})"

    def _colour(self, thing: Thing, suffix: str) -> str:
        """Nothing where the thing has its natural colour and that goes without saying."""
        natural = NATURAL.get(thing.kind, (None,))[0] == thing.colour
        unsaid = self.rng.random() < (0.5 if natural else 0.3 if self.sparing else 0.0)
        if unsaid and self.scene.weight("colour") == 1:
            return ""
        self.named.add("colour" + suffix)
        word = self._word(COLOUR_WORDS, thing.colour)
        return word if suffix else self._weighted(word, "colour")

    def _noun(self, thing: Thing, suffix: str) -> str:
        self.named.add("kind" + suffix)
        return f"{self._colour(thing, suffix)} {self._word(KIND_WORDS, thing.kind)}".strip()

    def _lone(self) -> str:
        thing = self.scene.things[0]
        self.named.update(("place", "size"))
        size = self.rng.choice(SIZE_WORDS[thing.size])
        noun = f"{self._weighted(size, 'size') if size else ''} {self._noun(thing, '')}".strip()
        text = article(noun) if self.rng.random() < 0.65 else noun
        return f"{text} {self.rng.choice(PLACE_WORDS[thing.place])}".strip()

    def _several(self) -> str:
        thing = self.scene.things[0]
        self.named.add("kind")
        kind = self._word(KIND_WORDS, thing.kind)
        words = (self.rng.choice(COUNT_WORDS[self.scene.count]), self._colour(thing, ""), plural(kind))
        return " ".join(filter(None, words))

    def _pair(self) -> str:
        first, second = (self._noun(thing, suffix) for thing, suffix in zip(self.scene.things, SUFFIXES, strict=True))
        if self.rng.random() < 0.75:
            first, second = article(first), article(second)
        chance = self.rng.random()
        if chance < 0.25:
            return f"{first} {self.rng.choice(('and', 'and', 'next to', 'with'))} {second}"
        self.named.add("place")
        toward, away = ("left", "right") if self.scene.things[0].place == "left" else ("top", "bottom")
        if chance < 0.7:
            return f"{first} {self._word(RELATION_WORDS, toward)} {second}"
        return f"{second} {self._word(RELATION_WORDS, away)} {first}"

    def _ground(self) -> str:
        """Nothing, now and then, where the ground is the one that a thing has when none is said."""
        ground, things = self.scene.ground, self.scene.things
        usual = len(things) == 1 and ground.pattern == NATURAL.get(things[0].kind, ("", "plain"))[1]
        if usual and (ground.pattern != "plain" or ground.first == BARE) and self.rng.random() < 0.6:
            return ""
        if self.sparing and self.rng.random() < 0.3:
            return ""
        self.named.add("pattern")
        if ground.pattern not in VIEWS:
            self.named.add("ground")
            if ground.pattern != "plain":
                self.named.add("second ground")
        first, second = self._word(COLOUR_WORDS, ground.first), self._word(COLOUR_WORDS, ground.second)
        text = self._word(GROUND_WORDS, ground.pattern).format(first=first, second=second)
        return text.replace("on a orange", "on an orange").replace("on a azure", "on an azure")


def caption_of(scene: Scene, rng: random.Random) -> Caption:
    """Tell a scene in plain words, now and then leaving something out."""
    if rng.random() < 0.06 and not scene.emphasis:
        return _fragment(scene, rng)
    return _Telling(scene, rng).caption(with_rendering=True)


def _fragment(scene: Scene, rng: random.Random) -> Caption:
    """One or two of a scene's words and no more, as negative prompts have them."""
    first, ground = scene.things[0], scene.ground
    words = {"kind": rng.choice(KIND_WORDS[first.kind]), "colour": rng.choice(COLOUR_WORDS[first.colour])}
    if scene.rendering != "flat":
        words["rendering"] = rng.choice(RENDERING_WORDS[scene.rendering])
    if ground.pattern in VIEWS:
        words["pattern"] = rng.choice((*GROUND_WORDS[ground.pattern], ground.pattern))
    elif ground.pattern == "plain":
        words["ground"] = f"{rng.choice(COLOUR_WORDS[ground.first])} background"
    chosen = rng.sample(sorted(words), rng.choice((1, 1, 2)))
    return Caption(", ".join(words[name] for name in chosen), frozenset(chosen))


def styled_caption_of(scene: Scene, rng: random.Random, templates: Mapping[str, Sequence[str]]) -> Caption:
    """Tell a scene within the template of a style that asks for its rendering.

    `templates`: of each rendering, the styles' prompts.
    """
    caption = _Telling(scene, rng).caption(with_rendering=False)
    return replace(caption, text=rng.choice(templates[scene.rendering]).replace("{prompt}", caption.text))


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


def article(noun: str) -> str:
    """A noun with "a" or "an" before it."""
    return f"an {noun}" if noun.lstrip("(")[0] in "aeiou" else f"a {noun}"


def plural(kind: str) -> str:
    """More than one of a kind."""
    last = kind.split()[-1]
    return kind.removesuffix(last) + PLURALS.get(last, last + "s")


def attributes(scene: Scene) -> dict[str, str]:
    """What can be asked about a scene; `of second` only where there is a second thing."""
    first = scene.things[0]
    answers = {
        "kind": first.kind,
        "colour": first.colour,
        "size": first.size,
        "place": first.place,
        "pattern": scene.ground.pattern,
        "ground": scene.ground.first,
        "second ground": scene.ground.second,
        "rendering": scene.rendering,
        "count": str(len(scene.things) * scene.count) if len(scene.things) == 1 else "pair",
    }
    if len(scene.things) == 2:
        answers |= {"kind of second": scene.things[1].kind, "colour of second": scene.things[1].colour}
    return answers
