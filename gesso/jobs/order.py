"""A valid request made definite: which files, which words until which step, which seeds, at what price. Everything after this only obeys."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.entries import ParameterValue
from gesso.catalogue.validation import ValidRequest
from gesso.engine.messages import Paint, Pixels


@dataclass(frozen=True, slots=True)
class Order:
    """What is painted, and what it costs when all of it is delivered."""

    paint: Paint
    slug: str
    cost_micro: int
    prompt: str
    """With the style applied, as `negative_prompt`."""
    negative_prompt: str
    request: Mapping[str, ParameterValue]
    """The values asked for with the seed drawn, without the start image."""


def resolve(
    valid: ValidRequest, request_id: str, catalogue: Catalogue, models_dir: Path, start_image: Pixels | None = None
) -> Order:
    """The order that this request is, its job to be known as `request_id`.

    `start_image` is what the parameter `image` names, read and brought to its final size, which is the picture's size then.

    Raises BadRequest for a scheduler that is not served and for words that mean nothing.
    """
    raise NotImplementedError
