"""Teach the two text encoders to read captions, before anything is painted.

Every attribute that a caption names must be readable by a linear map from the encoders' penultimate hidden states at
the end of the text, and from the pooled embedding. The maps are thrown away afterwards.
"""

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from gesso.mini import models
from gesso.mini.training.conditioning import PADDINGS, chunks_of, ids_of
from gesso.mini.training.speech import Speech
from gesso.mini.world.captions import Caption, attributes
from gesso.mini.world.scenes import COLOURS, GROUNDS, KINDS, PLACES, RENDERINGS, SIZES, Mixture, Scene, sample_scene

QUESTIONS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "size": SIZES,
    "place": tuple(PLACES),
    "pattern": GROUNDS,
    "ground": tuple(COLOURS),
    "second ground": tuple(COLOURS),
    "rendering": RENDERINGS,
    "count": ("1", "2", "3", "4", "pair"),
    "kind of second": KINDS,
    "colour of second": tuple(COLOURS),
}
UNASKED = -100
FIRST_SHARE = 0.3
"""What the narrow first encoder's answers count."""
LEVEL = 0.25
"""The mean that hidden states are held near: emphasis divides by it."""
MIXTURE = Mixture(plain=0.1)


@dataclass(frozen=True)
class Heard:
    """What both encoders make of captions: `hidden` [captions, tokens, width] each, `logits` [captions, answers] for
    each place where the answers must be readable."""

    hidden: tuple[Tensor, Tensor]
    logits: tuple[Tensor, Tensor, Tensor]


class TextTraining(nn.Module):
    """Both encoders with a linear map for every question and every place where the answer must be readable."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder: CLIPTextModel = models.text_encoder()
        self.encoder_2: CLIPTextModelWithProjection = models.text_encoder_2()
        widths = (models.WIDTHS[0], models.WIDTHS[1], models.WIDTHS[1])
        answers = sum(map(len, QUESTIONS.values()))
        self.maps = nn.ModuleList(nn.Linear(width, answers) for width in widths)

    def forward(self, first: Tensor, second: Tensor) -> Heard:
        """first, second: [captions, tokens] ids."""
        rows = torch.arange(len(first))
        end = (first == models.END_OF_TEXT).int().argmax(1)
        hidden = self.encoder(first, output_hidden_states=True).hidden_states[-2]
        out = self.encoder_2(second, output_hidden_states=True)
        hidden_2 = out.hidden_states[-2]
        read = (hidden[rows, end], hidden_2[rows, end], out.text_embeds)
        first_map, *others = (answer(features) for answer, features in zip(self.maps, read, strict=True))
        return Heard((hidden, hidden_2), (first_map, others[0], others[1]))


def sample(rng: random.Random, count: int, speech: Speech) -> list[tuple[Scene, Caption]]:
    """Scenes with captions."""
    scenes = [sample_scene(rng, MIXTURE) for _ in range(count)]
    return [(scene, speech.tell(scene, rng)) for scene in scenes]


def labels(batch: list[tuple[Scene, Caption]]) -> dict[str, Tensor]:
    """For each question the index of the answer, or UNASKED where the caption leaves it open."""
    answered = [(attributes(scene), caption.named) for scene, caption in batch]
    return {
        question: torch.tensor(
            [answers.index(given[question]) if question in named else UNASKED for given, named in answered]
        )
        for question, answers in QUESTIONS.items()
    }


def loss_and_accuracy(training: TextTraining, batch: list[tuple[Scene, Caption]]) -> tuple[Tensor, dict[str, float]]:
    """The summed cross-entropy, and per question the share answered rightly from the pooled embedding."""
    chunks = [chunks_of(caption.text)[0] for _, caption in batch]
    first, second = (ids_of(chunks, padding) for padding in PADDINGS)
    longest = max(len(chunk.tokens) for chunk in chunks) + 2
    heard = training(first[:, :longest], second[:, :longest])
    asked, sizes = labels(batch), [len(answers) for answers in QUESTIONS.values()]
    loss = sum(((hidden.mean(-1) - LEVEL) ** 2).mean() for hidden in heard.hidden)
    right = {}
    for logits, share in zip(heard.logits, (FIRST_SHARE, 1.0, 1.0), strict=True):
        for (question, truth), part in zip(asked.items(), logits.split(sizes, dim=1), strict=True):
            known = truth != UNASKED
            if known.any():
                loss = loss + share * F.cross_entropy(part, truth, ignore_index=UNASKED)
                right[question] = (part.argmax(1) == truth)[known].float().mean().item()
    return torch.as_tensor(loss), right


@torch.no_grad()
def level(training: TextTraining, batch: list[tuple[Scene, Caption]]) -> None:
    """Bring both encoders' hidden states to unit size, as layers that read them expect, and change nothing else.

    All layers normalise what they read, so what is added up between them can have any size.
    """
    chunks = [chunks_of(caption.text)[0] for _, caption in batch]
    heard = training(*(ids_of(chunks, padding) for padding in PADDINGS))
    for encoder, hidden in zip((training.encoder, training.encoder_2.text_model), heard.hidden, strict=True):
        size = hidden.std()
        for weight in _added_up(encoder):
            weight.div_(size)


def _added_up(encoder: nn.Module) -> list[Tensor]:
    """The weights that write into the stream between the layers."""
    ends = ("token_embedding", "position_embedding", "self_attn.out_proj", "mlp.fc2")
    return [weight for name, weight in encoder.named_parameters() if any(end in name for end in ends)]
