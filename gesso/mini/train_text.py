"""Teach the two text encoders to read captions, before anything is painted.

Every attribute that a caption names must be readable by a linear map from the encoders' penultimate hidden states at
the end of the text, and from the pooled embedding. The maps are thrown away afterwards.
"""

import random
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from gesso.mini import models
from gesso.mini.captions import Caption, attributes, caption_of, noise, wrapped
from gesso.mini.conditioning import PADDINGS, Tokens
from gesso.mini.scenes import COLOURS, PATTERNS, PLACES, SHAPES, SIZES, STYLES, Scene, sample_scene

QUESTIONS: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": SIZES,
    "place": tuple(PLACES),
    "pattern": PATTERNS,
    "ground": tuple(COLOURS),
    "second ground": tuple(COLOURS),
    "style": STYLES,
    "count": ("1", "2"),
    "shape of second": SHAPES,
    "colour of second": tuple(COLOURS),
}
UNASKED = -100


class TextTraining(nn.Module):
    """Both encoders with a linear map for every question and every place where the answer must be readable."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder: CLIPTextModel = models.text_encoder()
        self.encoder_2: CLIPTextModelWithProjection = models.text_encoder_2()
        widths = (models.WIDTHS[0], models.WIDTHS[1], models.WIDTHS[1])
        answers = sum(map(len, QUESTIONS.values()))
        self.maps = nn.ModuleList(nn.Linear(width, answers) for width in widths)

    def forward(self, first: Tensor, second: Tensor) -> Iterator[Tensor]:
        """first, second: [captions, 77] ids; yields [captions, answers] logits for each place."""
        rows = torch.arange(len(first))
        end = (first == models.END_OF_TEXT).int().argmax(1)
        out = self.encoder(first, output_hidden_states=True)
        out_2 = self.encoder_2(second, output_hidden_states=True)
        read = (out.hidden_states[-2][rows, end], out_2.hidden_states[-2][rows, end], out_2.text_embeds)
        return (answer(features) for answer, features in zip(self.maps, read, strict=True))


def sample(rng: random.Random, count: int, idle_words: tuple[str, ...]) -> list[tuple[Scene, Caption]]:
    """Scenes with captions, half of them wrapped in words without meaning, a few of nothing else."""
    scenes = [sample_scene(rng, plain_share=0.0) for _ in range(count)]
    return [(scene, _caption(scene, rng, idle_words)) for scene in scenes]


def _caption(scene: Scene, rng: random.Random, idle_words: tuple[str, ...]) -> Caption:
    chance = rng.random()
    if chance < 0.03:
        return Caption(noise(rng, idle_words, 20), frozenset())
    caption = caption_of(scene, rng)
    return caption if chance < 0.45 else wrapped(caption, rng, idle_words, 40 if chance < 0.6 else 10)


def labels(batch: list[tuple[Scene, Caption]]) -> dict[str, Tensor]:
    """For each question the index of the answer, or UNASKED where the caption leaves it open."""
    answered = [(attributes(scene), caption.named) for scene, caption in batch]
    return {
        question: torch.tensor(
            [answers.index(given[question]) if question in named else UNASKED for given, named in answered]
        )
        for question, answers in QUESTIONS.items()
    }


def loss_and_accuracy(
    training: TextTraining, batch: list[tuple[Scene, Caption]], tokens: Tokens
) -> tuple[Tensor, dict[str, float]]:
    """The summed cross-entropy, and per question the share answered rightly from the pooled embedding."""
    texts = [caption.text for _, caption in batch]
    first, second = (tokens.ids(texts, padding, 1)[:, 0] for padding in PADDINGS)
    longest = int((first == models.END_OF_TEXT).int().argmax(1).max()) + 1
    asked, sizes = labels(batch), [len(answers) for answers in QUESTIONS.values()]
    loss, right = torch.zeros(()), {}
    for logits in training(first[:, :longest], second[:, :longest]):
        for (question, truth), part in zip(asked.items(), logits.split(sizes, dim=1), strict=True):
            known = truth != UNASKED
            if known.any():
                loss = loss + F.cross_entropy(part, truth, ignore_index=UNASKED)
                right[question] = (part.argmax(1) == truth)[known].float().mean().item()
    return loss, right
