"""What a UNet is told of a prompt: chunks of weighted tokens -> context and pooled embedding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gesso.errors import ServiceUnavailable
from gesso.prompt.chunks import Chunk
from gesso.sdxl.architecture import Kind

LENGTH = 77
BEGINNING, END = 49406, 49407
FIRST_PADDING, SECOND_PADDING = END, 0


@dataclass(frozen=True, slots=True)
class Conditioning:
    """`context`: [77 · chunks, width]; `pooled`: [width of the second encoder]."""

    context: Tensor
    pooled: Tensor


@dataclass(frozen=True, slots=True)
class TextEncoders:
    """SDXL's two text encoders, or a refiner's second alone."""

    first: nn.Module | None
    second: nn.Module

    def encode(self, chunk: Chunk, kind: Kind, clip_skip: int = 2) -> Conditioning:
        """What a UNet of this kind is told of one chunk: a base hears both encoders, a refiner the second alone.

        `clip_skip`: which of their layers, counted from the last as 1; the pooled embedding is always the last one's.
        One at a time, so that an embedding does not depend on its company.

        Raises:
            ServiceUnavailable: a base was lent a refiner's encoders.
        """
        device = next(self.second.parameters()).device
        output = self.second(token_ids(chunk, SECOND_PADDING).to(device), output_hidden_states=True)
        contexts = [emphasised(output.hidden_states[-clip_skip][0], chunk)]
        if kind == "base":
            if self.first is None:
                raise ServiceUnavailable("a base was lent the text encoders of a refiner, which lack the first one")
            hidden = self.first(token_ids(chunk, FIRST_PADDING).to(device), output_hidden_states=True).hidden_states
            contexts.insert(0, emphasised(hidden[-clip_skip][0], chunk))
        return Conditioning(torch.cat(contexts, dim=-1), output.text_embeds[0])


def end_to_end(chunks: Sequence[Conditioning]) -> Conditioning:
    """A prompt's chunks as one: their contexts laid end to end, and the first one's pooled embedding."""
    if len(chunks) == 1:
        return chunks[0]
    return Conditioning(torch.cat([chunk.context for chunk in chunks]), chunks[0].pooled)


def token_ids(chunk: Chunk, padding: int) -> Tensor:
    """[1, 77] int64: beginning, tokens, end, padding."""
    ids = [BEGINNING, *chunk.tokens, END]
    return torch.tensor([ids + [padding] * (LENGTH - len(ids))])


def emphasised(hidden: Tensor, chunk: Chunk) -> Tensor:
    """AUTOMATIC1111's emphasis: each token's embedding times its weight, then the mean of the whole restored."""
    if all(weight == 1 for weight in chunk.weights):
        return hidden
    weights = torch.ones(LENGTH)
    weights[1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
    weighted = hidden.float() * weights.to(hidden.device)[:, None]
    return (weighted * (hidden.float().mean() / weighted.mean())).to(hidden.dtype)
