"""Reading a request: the one place where a body that a client sent becomes values that mean something.

Strict about meaning, lenient about form, silent about nothing. Knows what a body says, not what a prompt or an image
in it holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gesso.catalogue.entries import Endpoint, FieldValue, Parameter, ParameterValue
from gesso.catalogue.values import ListError, ReadingError, problem, read_value
from gesso.errors import BadRequest, Problem


@dataclass(frozen=True, slots=True)
class ValidRequest:
    """What a body means at its endpoint."""

    endpoint: Endpoint
    values: Mapping[str, ParameterValue]
    """Every parameter of the endpoint, defaults filled in. Numbers are float; a seed that is to be drawn is None."""
    ignored: tuple[str, ...]
    """The fields that this endpoint does not know, in the order sent."""

    def text(self, name: str) -> str:
        """The value of a string, enum or image parameter."""
        value = self.values[name]
        assert isinstance(value, str)
        return value

    def integer(self, name: str) -> int:
        """The value of an integer parameter that has no way to be unset."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    def number(self, name: str) -> float:
        """The value of a number parameter."""
        value = self.values[name]
        assert isinstance(value, float)
        return value

    def rows(self, name: str) -> tuple[tuple[FieldValue, ...], ...]:
        """The value of a list parameter, or nothing where the endpoint has no such parameter."""
        value = self.values.get(name, ())
        assert isinstance(value, tuple)
        return value

    def switch(self, name: str) -> bool:
        """The value of a boolean parameter."""
        value = self.values[name]
        assert isinstance(value, bool)
        return value


def read_request(endpoint: Endpoint, body: Mapping[str, object]) -> ValidRequest:
    """Null means the default.

    Raises one BadRequest with every problem found, each naming the parameter, its value and what is allowed.
    """
    values: dict[str, ParameterValue] = {}
    problems: list[Problem] = []
    for parameter in endpoint.parameters.values():
        sent = body.get(parameter.name)
        try:
            values[parameter.name] = _read(parameter, sent)
        except ReadingError as error:
            problems.append(problem(parameter, parameter.name, sent, error.sentence))
        except ListError as error:
            problems.extend(error.problems)
    if problems:
        raise BadRequest.of(problems)
    return ValidRequest(endpoint, values, tuple(name for name in body if name not in endpoint.parameters))


def _read(parameter: Parameter, sent: object) -> ParameterValue:
    if sent is None and parameter.required:
        raise ReadingError("is missing")
    return read_value(parameter, parameter.default if sent is None else sent)
