"""From what a file says of a parameter to the entry: names of lists resolved, defaults proven to be allowed.

Knows the lists of choices there are; not which endpoint takes what.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from gesso.catalogue.entries import Parameter
from gesso.catalogue.forms import ParameterForm, read_table
from gesso.catalogue.values import ReadingError, allowed, quoted, read_value
from gesso.errors import SettingsError

PARAMETER = TypeAdapter(ParameterForm)


@dataclass(frozen=True, slots=True)
class ParameterMaker:
    """What every parameter of the catalogue is made from."""

    shared: Mapping[str, Mapping[str, Any]]
    """What a field is wherever it occurs, by its name."""
    lists: Mapping[str, tuple[str, ...]]
    """Choices by the name of their list."""
    aliases: Mapping[str, tuple[str, ...]]
    """Other names of a choice, by the choice."""
    longest_prompt: int
    """In characters."""

    def make(self, where: str, name: str, own: Mapping[str, Any]) -> Parameter:
        """Raises SettingsError, its sentence opened by `where` and the parameter's name."""
        where = f"{where}: parameter {name}"
        return self._made(where, name, {**self.shared.get(name, {}), **own})

    def _made(self, where: str, name: str, table: Mapping[str, Any]) -> Parameter:
        form = read_table(where, PARAMETER, table)
        choices = self._choices(where, form)
        parameter = Parameter(
            name=name,
            type=form.type,
            description=form.description,
            required=form.required,
            default=form.default,
            minimum=form.minimum,
            maximum=form.maximum,
            multiple_of=form.multiple_of,
            longest=form.longest or (self.longest_prompt if form.type == "string" else None),
            choices=choices,
            aliases=self._aliases(where, choices),
            unset=form.unset,
            fields={field: self._made(f"{where}: {field}", field, own) for field, own in form.fields.items()},
        )
        _check(where, parameter)
        return parameter

    def _choices(self, where: str, form: ParameterForm) -> tuple[str, ...]:
        if not isinstance(form.choices, str):
            return form.choices
        if form.choices not in self.lists:
            raise SettingsError(f"{where}: there is no list {form.choices!r}; there are: {', '.join(self.lists)}")
        return self.lists[form.choices]

    def _aliases(self, where: str, choices: tuple[str, ...]) -> dict[str, str]:
        pairs = [(alias, choice) for choice in choices for alias in self.aliases.get(choice, ())]
        for alias, choice in pairs:
            if alias in choices or dict(pairs)[alias] != choice:
                raise SettingsError(f"{where}: the alias {alias!r} of {choice!r} means another choice as well")
        return dict(pairs)


def _check(where: str, parameter: Parameter) -> None:
    if parameter.type in ("integer", "number") and (parameter.minimum is None or parameter.maximum is None):
        raise SettingsError(f"{where}: a number needs a minimum and a maximum")
    if parameter.type == "enum" and not parameter.choices:
        raise SettingsError(f"{where}: an enum needs choices")
    if parameter.type == "list" and (not parameter.fields or parameter.longest is None):
        raise SettingsError(f"{where}: a list needs fields and how long it is at the longest")
    if any(field.type == "list" for field in parameter.fields.values()):
        raise SettingsError(f"{where}: a list's fields cannot be lists")
    if parameter.required:
        return
    try:
        read_value(parameter, parameter.default)
    except ReadingError as error:
        raise SettingsError(
            f"{where}: the default {quoted(parameter.default)} {error.sentence}; allowed is {allowed(parameter)}"
        ) from None
