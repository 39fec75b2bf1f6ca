"""What an entry of the catalogue is: an endpoint, its parameters, a checkpoint, a style. Frozen.

Knows nothing of the files that entries are read from (`gesso.catalogue.forms`), nor of requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gesso.catalogue.price import Price

ParameterType = Literal["string", "integer", "number", "boolean", "enum", "image", "list"]
"""`string` is words for the model; `image` a URL, a data URI or base64, which only `gesso.imaging` opens; `list` one of
objects, each with the parameter's `fields`."""

FieldValue = str | int | float | bool | None
"""What a field can be once it is read; None only where `Parameter.unset` gives the caller a way to say so."""
ParameterValue = FieldValue | tuple[tuple[FieldValue, ...], ...]
"""What a parameter can be: a list has for each of its objects the fields' values, in their order."""

Returns = Literal["json", "image"]
CheckpointKind = Literal["base", "refiner", "vae", "lora"]
"""`vae`: nothing but a VAE, to be lent to others; `lora`: changes to the weights of a base, which requests name."""

MINI_WEIGHTS = Path(__file__).parent.parent / "mini" / "weights"
MINI_PREFIX = "mini:"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One field of a request. Limits are inclusive; numbers always have both."""

    name: str
    type: ParameterType
    description: str
    required: bool
    default: ParameterValue
    """As documented, so `unset` where that is the default."""
    minimum: float | None
    maximum: float | None
    multiple_of: int | None
    longest: int | None
    """Characters of a string, objects of a list; an image's characters are limited by the size of a body alone."""
    choices: tuple[str, ...]
    aliases: Mapping[str, str]
    """Other names of a choice that this parameter takes, each meaning exactly one of `choices`."""
    unset: int | None
    """The number by which a client says "choose for me" (-1 for a seed); it is read as None."""
    fields: "Mapping[str, Parameter]"
    """Of each object of a list, by name."""

    def choice(self, name: str) -> str | None:
        """The choice that a client means by this name or alias, if it is one."""
        return name if name in self.choices else self.aliases.get(name)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that takes requests: what may be asked there, what an image costs, what paints it."""

    slug: str
    name: str
    description: str
    price: Price
    returns: Returns
    parameters: Mapping[str, Parameter]
    """By name, in the order in which they are documented."""
    checkpoints: Mapping[str, str]
    """Role -> checkpoint id. A role is `base`, `refiner`, or a choice of the parameter `base_model`."""
    example: Mapping[str, object]
    """A complete request body."""

    def base(self, values: Mapping[str, ParameterValue]) -> str:
        """The id of the checkpoint that paints a request with these values."""
        return self.checkpoints[str(values.get("base_model", "base"))]

    @property
    def refiner(self) -> str | None:
        """The id of the checkpoint that refines, at an endpoint that can."""
        return self.checkpoints.get("refiner")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a checkpoint's file was published, as its model card says. The file is known by its hash, not its name."""

    repository: str
    """`owner/name` on the model hub."""
    licence: str
    file: str | None = None
    """None: the repository holds a folder in diffusers' layout, not a single file."""
    civitai: str | None = None
    """`model/version` there."""
    size_bytes: int | None = None
    sha256: str | None = None
    note: str = ""
    """What whoever fetches it should read first."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file of weights, or a folder in diffusers' layout. Only members of one `family` work together: they share
    latents and text embeddings, and LoRAs change members of their own."""

    id: str
    title: str
    file: str
    """Relative to the folder of models, absolute, or `mini:NAME` for one that ships with the package."""
    kind: CheckpointKind = "base"
    family: str = "sdxl"
    text_encoders: str | None = None
    """The id of the checkpoint that lends its text encoders to this one, whose file has none."""
    vae: str | None = None
    """The id of the checkpoint that lends its VAE to this one."""
    sha256: str | None = None
    """Of the file, as it was when it was added."""
    clip_skip: int = 2
    """Which of the text encoders' layers is read, counted from the last as 1, as model cards count; SDXL's is 2."""
    source: Source | None = None

    @property
    def shipped(self) -> bool:
        """Whether the file comes with the package."""
        return self.file.startswith(MINI_PREFIX)

    @property
    def expected_sha256(self) -> str | None:
        """What the file should have, as far as anybody has said."""
        return self.sha256 or (self.source.sha256 if self.source else None)

    def path(self, models_dir: Path) -> Path:
        """Where the file is, or will be once it has been fetched."""
        if self.shipped:
            return MINI_WEIGHTS / f"{self.file.removeprefix(MINI_PREFIX)}.safetensors"
        return models_dir / Path(self.file).expanduser()


@dataclass(frozen=True, slots=True)
class Style:
    """Words around the caller's own: a template with `{prompt}` in it, and what to keep out of the picture."""

    name: str
    prompt: str
    negative_prompt: str = ""

    def apply(self, prompt: str, negative_prompt: str) -> tuple[str, str]:
        """The (positive, negative) prompt in this style; braces other than `{prompt}` are text."""
        negatives = (text for text in (self.negative_prompt, negative_prompt) if text)
        return self.prompt.replace("{prompt}", prompt), ", ".join(negatives)
