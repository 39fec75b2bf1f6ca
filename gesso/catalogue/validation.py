"""Reading a request: the one place where a body that a client sent becomes values that mean something.

Strict about meaning, lenient about form, silent about nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gesso.catalogue.entries import Endpoint, ParameterValue


@dataclass(frozen=True, slots=True)
class ValidRequest:
    """What a body means at its endpoint."""

    endpoint: Endpoint
    values: Mapping[str, ParameterValue]
    """Every parameter of the endpoint, defaults filled in. Integers are int, numbers float; a seed to be drawn is None."""
    ignored: tuple[str, ...]
    """The fields that this endpoint does not know, in the order sent."""


def read_request(endpoint: Endpoint, body: Mapping[str, object], *, longest_prompt: int = 20_000) -> ValidRequest:
    """Raises one BadRequest with every problem found, each naming the parameter, its value and what is allowed.

    `longest_prompt` is in characters and holds for each text by itself.
    """
    raise NotImplementedError
