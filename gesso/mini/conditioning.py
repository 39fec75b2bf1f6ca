"""From captions to what the UNet is told: token ids in chunks, hidden states side by side, the pooled embedding.

As SDXL does it: chunks of 75 tokens between begin and end, the penultimate hidden states of both encoders
concatenated, chunks in a row, pooled from the second encoder's first chunk.
"""

import random
from dataclasses import dataclass
from importlib.resources import files

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from gesso.mini.captions import world_words
from gesso.mini.models import END_OF_TEXT

BEGIN_OF_TEXT = 49406
CHUNK = 75
PADDINGS = (END_OF_TEXT, 0)


@dataclass(frozen=True)
class Conditioning:
    """hidden: [captions, 77·chunks, both widths]; pooled: [captions, second width]."""

    hidden: Tensor
    pooled: Tensor


class Tokens:
    """CLIP's own tokens; its vocabulary also supplies words that mean nothing in the world."""

    def __init__(self) -> None:
        folder = files("gesso").joinpath("prompt", "clip_vocabulary")
        self._tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        known = world_words()
        whole = (token.removesuffix("</w>") for token in self._tokenizer.get_vocab() if token.endswith("</w>"))
        self.idle_words = tuple(
            sorted(w for w in whole if w.isascii() and w.isalpha() and len(w) > 2 and w not in known)
        )

    def ids(self, texts: list[str], padding: int, chunks: int) -> Tensor:
        """[texts, chunks, 77]; what does not fit is cut off."""
        listed = self._tokenizer(texts, add_special_tokens=False, verbose=False).input_ids
        return torch.tensor([[_chunk(ids, n, padding) for n in range(chunks)] for ids in listed])


def _chunk(ids: list[int], number: int, padding: int) -> list[int]:
    part = ids[number * CHUNK : (number + 1) * CHUNK]
    return [BEGIN_OF_TEXT, *part, END_OF_TEXT, *[padding] * (CHUNK - len(part))]


def encode(
    texts: list[str],
    tokens: Tokens,
    encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection],
    chunks: int = 1,
) -> Conditioning:
    """Encode captions with both encoders, without gradient."""
    parts = []
    with torch.no_grad():
        for encoder, padding in zip(encoders, PADDINGS, strict=True):
            ids = tokens.ids(texts, padding, chunks)
            out = encoder(ids.flatten(0, 1), output_hidden_states=True)
            parts.append(out.hidden_states[-2].reshape(len(texts), chunks * ids.shape[2], -1))
        pooled = out.text_embeds.unflatten(0, (len(texts), chunks))[:, 0]
    return Conditioning(torch.cat(parts, dim=-1), pooled)


def without_text(conditioning: Conditioning, share: float, rng: random.Random) -> Conditioning:
    """Blank a share of the captions with zeros, as the server does for an empty negative prompt."""
    keep = torch.tensor([float(rng.random() >= share) for _ in conditioning.pooled]).unsqueeze(1)
    return Conditioning(conditioning.hidden * keep.unsqueeze(2), conditioning.pooled * keep)
