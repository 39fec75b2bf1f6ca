"""What tells networks and encoded prompts apart, and which of them a request wants. Knows no torch."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from gesso.prompt.chunks import Chunk
from gesso.sdxl.architecture import Kind

Mark = tuple[tuple[str, int, int], ...]
"""Names, times of change (ns) and sizes of a checkpoint's files: with another mark it is another checkpoint."""


class Name(NamedTuple):
    """What tells networks apart: where they lie, the LoRAs in them, each with its strength, and whether their weights
    are `streamed` to the device as they are used."""

    part: Literal["unet", "text", "vae"]
    path: str
    mark: Mark
    loras: tuple[tuple[str, Mark, float], ...] = ()
    streamed: bool = False

    @property
    def source(self) -> "Name":
        """What it is in the host's memory."""
        return self._replace(streamed=False)


@dataclass(frozen=True, slots=True)
class Voice:
    """How a UNet of a kind is told of prompts: by which encoders, read at which layer."""

    encoders: Name
    kind: Kind
    clip_skip: int


class TextName(NamedTuple):
    """What tells encoded chunks apart."""

    voice: Voice
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Ensemble:
    """What paints one run: a checkpoint's UNet, of which form (and whether streamed), and who tells it of prompts."""

    checkpoint: str
    unet: Name
    form: str
    voice: Voice


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request needs: an ensemble for each of its runs, the first its base's, and a VAE."""

    ensembles: tuple[Ensemble, ...]
    vae: Name

    @property
    def checkpoint(self) -> str:
        """Its base's id."""
        return self.ensembles[0].checkpoint

    @property
    def encoders(self) -> tuple[Name, ...]:
        """What it needs to encode its prompts."""
        return tuple(dict.fromkeys(ensemble.voice.encoders for ensemble in self.ensembles))

    @property
    def painters(self) -> tuple[Name, ...]:
        """What it needs once they are encoded."""
        return (*dict.fromkeys(ensemble.unet for ensemble in self.ensembles), self.vae)

    def whose(self, name: Name) -> str:
        """The id of the checkpoint that a network is for."""
        users = (one.checkpoint for one in self.ensembles if name in (one.unet, one.voice.encoders))
        return next(users, self.checkpoint)
