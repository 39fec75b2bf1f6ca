"""How one value that a client sent is read as what its parameter wants, whatever form it came in.

Knows a single value and a single parameter; all of a request is read in `gesso.catalogue.validation`.
"""

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal

from gesso.catalogue.entries import FieldValue, Parameter, ParameterType, ParameterValue
from gesso.errors import GessoError, Problem

# Three digits of exponent pass every float there is and keep exact arithmetic small.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
LONGEST_NUMBER = 400
LONGEST_SHOWN = 80
SWITCHES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class ReadingError(GessoError):
    """The value is none that the parameter takes. The sentence says why, not yet what is allowed."""


class ListError(GessoError):
    """Objects of a list are none that the parameter takes: what is wrong with each, by its place."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.problem for problem in problems))
        self.problems = tuple(problems)


def read_value(parameter: Parameter, value: object) -> ParameterValue:
    """Raises ReadingError, or of a list ListError."""
    if parameter.type == "list":
        return _list(parameter, value)
    return READERS[parameter.type](parameter, value)


def problem(parameter: Parameter, where: str, sent: object, reason: str) -> Problem:
    """What is wrong with a value sent for a parameter, and what would be right; `where` is how its caller calls it."""
    value = "" if sent is None else f"{quoted(sent)} "
    return Problem(where, None if sent is None else shown(sent), f"{value}{reason}; allowed is {allowed(parameter)}")


def allowed(parameter: Parameter) -> str:
    """What the parameter takes, in words that end a sentence."""
    if parameter.type in ("integer", "number"):
        step = f"multiple of {parameter.multiple_of}" if parameter.multiple_of else parameter.type
        return f"{'an' if step[0] == 'i' else 'a'} {step} from {parameter.minimum} to {parameter.maximum}"
    if parameter.type == "enum":
        return f"one of {', '.join(parameter.choices)}"
    if parameter.type == "list":
        return f"a list of at most {parameter.longest} objects with {' and '.join(parameter.fields)}"
    if parameter.type == "string":
        return f"text of {1 if parameter.required else 0} to {parameter.longest} characters"
    return "true or false" if parameter.type == "boolean" else "an http(s) URL, a data: URI or base64"


def shown(value: object) -> str | int | float | bool:
    """The value as an answer may carry it: short, and nothing that JSON or UTF-8 cannot hold."""
    if isinstance(value, str):
        return _shortened(value)
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return "null" if value is None else "a list" if isinstance(value, list) else "an object"


def quoted(value: object) -> str:
    """The value as a sentence may quote it."""
    return json.dumps(shown(value), ensure_ascii=False) if isinstance(value, str | bool) else str(shown(value))


def _shortened(text: str) -> str:
    start = text[:LONGEST_SHOWN].encode(errors="backslashreplace").decode()
    return start if len(text) <= LONGEST_SHOWN else f"{start}… ({len(text)} characters)"


def _text(parameter: Parameter, value: object) -> str:
    if not isinstance(value, str):
        raise ReadingError("is not text")
    if parameter.longest is not None and len(value) > parameter.longest:
        raise ReadingError("is too long")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ReadingError("has a character that is not text (a NUL or half of a surrogate pair)")
    if parameter.required and not value.strip():
        raise ReadingError("is empty")
    return value


def _integer(parameter: Parameter, value: object) -> int | None:
    number = _real(value)
    if number % 1:
        raise ReadingError("is not an integer")
    whole = int(_in_range(parameter, number))
    if parameter.multiple_of and whole % parameter.multiple_of:
        raise ReadingError(f"is not a multiple of {parameter.multiple_of}")
    return None if whole == parameter.unset else whole


def _number(parameter: Parameter, value: object) -> float:
    return float(_in_range(parameter, _real(value)))


def _real(value: object) -> int | float:
    if isinstance(value, str):
        return _written_number(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ReadingError("is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ReadingError("is not finite")
    return value


def _written_number(text: str) -> int | float:
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text):
        raise ReadingError("is not a number")
    # Whole numbers stay exact: a seed has more bits than a float keeps.
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)


def _in_range(parameter: Parameter, number: int | float) -> int | float:
    assert parameter.minimum is not None
    assert parameter.maximum is not None
    if not parameter.minimum <= number <= parameter.maximum:
        raise ReadingError("is out of range")
    return number


def _boolean(_: Parameter, value: object) -> bool:
    if isinstance(value, str) and value.strip().lower() in SWITCHES:
        return SWITCHES[value.strip().lower()]
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ReadingError("is not true or false")


def _enum(parameter: Parameter, value: object) -> str:
    choice = parameter.choice(value) if isinstance(value, str) else None
    if choice is None:
        raise ReadingError("is not known here")
    return choice


def _list(parameter: Parameter, value: object) -> tuple[tuple[FieldValue, ...], ...]:
    assert parameter.longest is not None
    if not isinstance(value, list | tuple):
        raise ReadingError("is not a list")
    if len(value) > parameter.longest:
        raise ReadingError(f"of {len(value)} is too long")
    problems: list[Problem] = []
    rows = [_object(parameter, f"{parameter.name}[{place}]", sent, problems) for place, sent in enumerate(value)]
    if problems:
        raise ListError(problems)
    return tuple(rows)


def _object(parameter: Parameter, where: str, sent: object, problems: list[Problem]) -> tuple[FieldValue, ...]:
    if not isinstance(sent, dict):
        told = f"{quoted(sent)} is not an object; allowed is one with {' and '.join(parameter.fields)}"
        problems.append(Problem(where, shown(sent), told))
        return ()
    for name in [name for name in sent if name not in parameter.fields]:
        told = f"is not known here; known are {' and '.join(parameter.fields)}"
        problems.append(Problem(f"{where}.{shown(name)}", shown(sent[name]), told))
    values: list[FieldValue] = []
    for name, field in parameter.fields.items():
        try:
            values.append(_field(field, sent.get(name)))
        except ReadingError as error:
            problems.append(problem(field, f"{where}.{name}", sent.get(name), error.sentence))
    return tuple(values)


def _field(field: Parameter, sent: object) -> FieldValue:
    if sent is None and field.required:
        raise ReadingError("is missing")
    return READERS[field.type](field, field.default if sent is None else sent)


READERS: dict[ParameterType, Callable[[Parameter, object], FieldValue]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "enum": _enum,
    "image": _text,
}
