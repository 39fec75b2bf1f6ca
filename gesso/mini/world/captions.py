"""The words of the world: what a person might ask for when they mean a scene.

A caption may leave things out, use other words for the same, weigh a word as AUTOMATIC1111's syntax does, and be
wrapped in words that mean nothing here ("masterpiece", words drawn at random), as real prompts are. It knows which
attributes it names.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gesso.mini.world.scenes import BARE, NATURAL, VIEWS, Scene, Thing

Words = dict[str, tuple[str, ...]]

KIND_WORDS: Words = {
    "circle": ("circle", "disc", "ball", "sphere", "dot"),
    "square": ("square", "box", "cube"),
    "triangle": ("triangle", "pyramid"),
    "star": ("star",),
    "heart": ("heart",),
    "diamond": ("diamond", "rhombus"),
    "ring": ("ring", "donut", "hoop"),
    "cross": ("cross", "plus sign"),
    "moon": ("moon", "crescent", "crescent moon"),
    "sun": ("sun", "shining sun"),
    "flower": ("flower", "daisy", "blossom"),
    "tree": ("tree", "oak"),
    "house": ("house", "cottage", "home"),
    "mountain": ("mountain", "snowy mountain", "peak"),
    "cloud": ("cloud", "fluffy cloud"),
    "boat": ("boat", "sailboat", "ship"),
    "fish": ("fish", "goldfish"),
    "cat": ("cat", "kitten", "cat face", "cat's face"),
    "mushroom": ("mushroom", "toadstool"),
    "butterfly": ("butterfly", "moth"),
}
PLURALS = {"cross": "crosses", "fish": "fish", "butterfly": "butterflies"}
COLOUR_WORDS: Words = {
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
SIZE_WORDS: Words = {
    "small": ("small", "tiny", "little"),
    "medium": ("",),
    "large": ("large", "big", "huge"),
}
COUNT_WORDS = {2: ("two",), 3: ("three",), 4: ("four",)}
PLACE_WORDS: Words = {
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
GROUND_WORDS: Words = {
    "plain": (
        "on a {first} background",
        "on a {first} background",
        "on a plain {first} background",
        "{first} backdrop",
    ),
    "gradient": ("on a {first} to {second} gradient background", "on a {first} and {second} gradient background"),
    "stripes": ("on a {first} and {second} striped background", "on {first} and {second} stripes"),
    "checks": ("on a {first} and {second} checkered background", "on a {first} and {second} checkerboard"),
    "sky": ("in the sky", "in a blue sky", "sky background", "in the air"),
    "sea": ("on the sea", "at sea", "on the ocean", "in the water", "sea background"),
    "night": ("at night", "in a starry night", "under a night sky", "night background", "in space"),
    "grass": ("on grass", "in a meadow", "on a green field", "on the lawn", "grass background"),
    "sunset": ("at sunset", "before a sunset sky", "at dusk", "sunset background"),
}
RENDERING_WORDS: Words = {
    "flat": ("",),
    "line art": ("line art", "outline drawing", "black ink outline", "coloring page"),
    "watercolor": ("watercolor", "watercolor painting", "watercolor wash"),
    "oil painting": ("oil painting", "thick brush strokes", "impressionist painting"),
    "pixel art": ("pixel art", "8 bit sprite", "square pixels"),
    "crayon": ("crayon drawing", "crayon", "colored pencil", "chalk drawing"),
    "neon": ("neon glow", "neon", "neon sign", "glowing neon"),
    "stained glass": ("stained glass", "stained glass window"),
    "blueprint": ("blueprint", "technical blueprint", "architectural plan"),
    "clay": ("clay", "3d render", "3d model", "made of clay"),
    "papercut": ("papercut", "cut paper", "paper craft"),
    "comic": ("comic book", "comic", "pop art", "halftone dots"),
    "monochrome": ("monochrome", "black and white photo", "film noir"),
    "silhouette": ("silhouette", "black silhouette"),
    "pointillism": ("pointillism", "tiny dots", "mosaic"),
    "low poly": ("low poly", "lowpoly", "origami", "flat facets"),
}
RELATION_WORDS: Words = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "top": ("above", "over", "on top of"),
    "bottom": ("below", "under", "beneath"),
}
OPENINGS = (
    "a photo of",
    "a picture of",
    "an image of",
    "an illustration of",
    "a drawing of",
    "a cinematic photo of",
    "cinematic film still,",
    "masterpiece, best quality,",
    "high quality picture of",
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
STYLES: dict[str, str] = {
    "3d-model": "clay",
    "anime": "comic",
    "comic book": "comic",
    "craft clay": "clay",
    "fantasy art": "oil painting",
    "isometric": "low poly",
    "line art": "line art",
    "lowpoly": "low poly",
    "neonpunk": "neon",
    "origami": "low poly",
    "photographic": "clay",
    "pixel art": "pixel art",
    "advertising": "clay",
    "automotive": "clay",
    "food photography": "clay",
    "retail": "clay",
    "abstract expressionism": "oil painting",
    "constructivist": "papercut",
    "cubist": "low poly",
    "expressionist": "oil painting",
    "graffiti": "crayon",
    "hyperrealism": "clay",
    "impressionist": "oil painting",
    "pointillism": "pointillism",
    "pop art": "comic",
    "renaissance": "oil painting",
    "surrealist": "oil painting",
    "typography": "line art",
    "watercolor": "watercolor",
    "biomechanical cyberpunk": "neon",
    "cyberpunk cityscape": "neon",
    "retro cyberpunk": "neon",
    "futuristic": "blueprint",
    "cybernetic": "blueprint",
    "bubble bobble": "pixel art",
    "cyberpunk game": "neon",
    "fighting game": "comic",
    "gta": "comic",
    "minecraft": "pixel art",
    "pokemon": "crayon",
    "retro arcade": "pixel art",
    "retro game": "pixel art",
    "rpg fantasy game": "oil painting",
    "streetfighter": "comic",
    "architectural": "blueprint",
    "disco": "neon",
    "dreamscape": "watercolor",
    "fairy tale": "watercolor",
    "gothic": "stained glass",
    "horror": "monochrome",
    "kawaii": "crayon",
    "manga": "line art",
    "minimalist": "flat",
    "monochrome": "monochrome",
    "stained glass": "stained glass",
    "tribal": "papercut",
    "zentangle": "line art",
    "collage": "papercut",
    "flat papercut": "papercut",
    "kirigami": "papercut",
    "paper mache": "papercut",
    "paper quilling": "papercut",
    "papercut collage": "papercut",
    "papercut shadow box": "papercut",
    "stacked papercut": "papercut",
    "thick layered papercut": "papercut",
    "film noir": "monochrome",
    "neon noir": "neon",
    "silhouette": "silhouette",
}
"""The rendering that a style of the catalogue asks for by its template. The others ask for none."""


@dataclass(frozen=True)
class Caption:
    """`named`: the attributes that the text settles (see `attributes`); the others were left open."""

    text: str
    named: frozenset[str]


def world_words() -> frozenset[str]:
    """Every word that means something in a scene."""
    tables = (KIND_WORDS, COLOUR_WORDS, SIZE_WORDS, PLACE_WORDS, GROUND_WORDS, RENDERING_WORDS, RELATION_WORDS)
    texts = [text for table in tables for phrases in table.values() for text in phrases]
    texts += [word for words in COUNT_WORDS.values() for word in words] + list(PLURALS.values())
    texts += [f"{text}s" for phrases in KIND_WORDS.values() for text in phrases]
    return frozenset(word for text in texts for word in text.split())


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
