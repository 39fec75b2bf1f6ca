"""How scenes are told in training: plainly, within a style's template, wrapped in idle words, or not at all."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gesso.catalogue.catalogue import load_catalogue
from gesso.mini.training.conditioning import idle_words
from gesso.mini.world.captions import Caption, caption_of, noise, styled_caption_of, wrapped
from gesso.mini.world.scenes import Scene
from gesso.mini.world.vocabulary import STYLES, world_words

BASE_STYLE = "base"


@dataclass(frozen=True)
class Speech:
    """`idle`: words that mean nothing here; `templates`: of each rendering, the prompts of styles that ask for it."""

    idle: tuple[str, ...]
    templates: Mapping[str, Sequence[str]]

    def tell(self, scene: Scene, rng: random.Random) -> Caption:
        """A caption as people write them: half of them have words around them that mean nothing."""
        chance = rng.random()
        if chance < 0.03:
            return Caption(noise(rng, self.idle, 20), frozenset())
        if chance < 0.15 and not scene.emphasis:
            return styled_caption_of(scene, rng, self.templates)
        caption = caption_of(scene, rng)
        return caption if chance < 0.6 else wrapped(caption, rng, self.idle, 40 if chance < 0.65 else 10)


def speech() -> Speech:
    """With CLIP's vocabulary and the styles that ship."""
    templates: dict[str, list[str]] = defaultdict(list)
    for style in load_catalogue().styles.values():
        if style.name != BASE_STYLE:
            templates[STYLES.get(style.name, "flat")].append(style.prompt)
    return Speech(idle_words(world_words()), dict(templates))
