"""From captions to what the UNet is told, as the server does it, many captions at a time.

Weights in captions are read by the server's own parser, chunks of 75 tokens are cut by it, and emphasis is its own.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from gesso.prompt import tokenizer
from gesso.prompt.attention import weigh
from gesso.prompt.chunks import Chunk, split
from gesso.sdxl.text import FIRST_PADDING, LENGTH, SECOND_PADDING, emphasised, token_ids

PADDINGS = (FIRST_PADDING, SECOND_PADDING)
EMPTY = Chunk((), ())


@dataclass(frozen=True)
class Conditioning:
    """hidden: [captions, 77·chunks, both widths]; pooled: [captions, second width]."""

    hidden: Tensor
    pooled: Tensor


def chunks_of(text: str) -> tuple[Chunk, ...]:
    """A caption's chunks, weights and all."""
    return split(weigh(text))


def ids_of(chunks: Sequence[Chunk], padding: int) -> Tensor:
    """[chunks, 77]."""
    return torch.cat([token_ids(chunk, padding) for chunk in chunks])


def encode(texts: Sequence[str], encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection]) -> Conditioning:
    """Encode captions with both encoders, without gradient; those of fewer chunks get empty ones."""
    listed = [chunks_of(text) for text in texts]
    most = max(map(len, listed))
    chunks = [chunk for own in listed for chunk in (*own, *[EMPTY] * (most - len(own)))]
    parts = []
    with torch.no_grad():
        for encoder, padding in zip(encoders, PADDINGS, strict=True):
            out = encoder(ids_of(chunks, padding), output_hidden_states=True)
            weighted = [emphasised(hidden, chunk) for hidden, chunk in zip(out.hidden_states[-2], chunks, strict=True)]
            parts.append(torch.stack(weighted).view(len(texts), most * LENGTH, -1))
        pooled = out.text_embeds[::most]
    return Conditioning(torch.cat(parts, dim=-1), pooled)


def without_text(conditioning: Conditioning, share: float, rng: random.Random) -> Conditioning:
    """Blank a share of the captions with zeros, as the server does for an empty negative prompt."""
    keep = torch.tensor([float(rng.random() >= share) for _ in conditioning.pooled]).unsqueeze(1)
    return Conditioning(conditioning.hidden * keep.unsqueeze(2), conditioning.pooled * keep)


def idle_words(known: frozenset[str]) -> tuple[str, ...]:
    """Words of CLIP's vocabulary that are none of the known ones."""
    words = (token.removesuffix("</w>") for token in tokenizer.vocabulary() if token.endswith("</w>"))
    return tuple(sorted(w for w in words if w.isascii() and w.isalpha() and len(w) > 2 and w not in known))
