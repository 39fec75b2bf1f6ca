"""The shape of the catalogue's files, read strictly: an unknown or missing key stops the start with its name.

Knows the files' keys and types; what the entries mean together is checked in `gesso.catalogue.catalogue`.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gesso.catalogue.entries import Checkpoint, ParameterType, Returns, Style
from gesso.errors import SettingsError

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
WORDING = {
    "extra_forbidden": "unknown key",
    "unexpected_keyword_argument": "unknown key",
    "missing": "is required",
    "missing_argument": "is required",
}

Credits = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class ParameterForm(BaseModel):
    """A table `[parameter.NAME]`, with an endpoint's own keys laid over it."""

    model_config = STRICT

    type: ParameterType
    description: str
    required: bool = False
    default: str | int | float | bool | tuple[()] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    multiple_of: Annotated[int, Field(gt=0)] | None = None
    longest: Annotated[int, Field(gt=0)] | None = None
    choices: str | tuple[str, ...] = ()
    unset: int | None = None
    fields: dict[str, dict[str, Any]] = {}


class PricedForm(BaseModel):
    """`price_for`: the image that a price is for. What it does not say makes no difference to the price."""

    model_config = STRICT

    steps: Annotated[int, Field(gt=0)] | None = None
    pixels: Annotated[int, Field(gt=0)] | None = None


class PriceForm(BaseModel):
    """What an owner's `[prices]` changes of an endpoint's price; a number alone is the `price`."""

    model_config = STRICT

    price: Credits | None = None
    price_for: PricedForm | None = None

    @model_validator(mode="before")
    @classmethod
    def _number(cls, said: Any) -> Any:
        return said if isinstance(said, dict) else {"price": said}


class EndpointForm(BaseModel):
    """An `[[endpoint]]`; what it says of a parameter goes before what `[parameter.NAME]` says."""

    model_config = STRICT

    slug: Slug
    name: str
    description: str
    price: Credits
    price_for: PricedForm = PricedForm()
    returns: Returns
    parameters: dict[str, dict[str, Any]]


class EndpointsForm(BaseModel):
    """`endpoints.toml`."""

    model_config = STRICT

    parameter: dict[str, dict[str, Any]]
    endpoint: tuple[EndpointForm, ...]


class SchedulersForm(BaseModel):
    """`schedulers.toml`."""

    model_config = STRICT

    lists: dict[str, tuple[str, ...]]
    aliases: dict[str, tuple[str, ...]]


class CheckpointsForm(BaseModel):
    """`checkpoints.toml`."""

    model_config = STRICT

    bindings: dict[str, str]
    originals: dict[str, str]
    checkpoint: tuple[Checkpoint, ...]


class OwnForm(BaseModel):
    """The owner's file: checkpoints and endpoints of their own, what paints where, other prices."""

    model_config = STRICT

    bindings: dict[str, str] = {}
    prices: dict[str, PriceForm] = {}
    checkpoint: tuple[Checkpoint, ...] = ()
    endpoint: tuple[EndpointForm, ...] = ()


class RegistryForm(BaseModel):
    """What `gesso models` notes: checkpoints added, where files of known ones lie, what paints where."""

    model_config = STRICT

    bindings: dict[str, str] = {}
    files: dict[str, str] = {}
    checkpoint: tuple[Checkpoint, ...] = ()


Form = TypeVar("Form", bound=BaseModel)
Entry = TypeVar("Entry")

STYLES = TypeAdapter(tuple[Style, ...], config=STRICT)


def read_toml(path: Path, form: type[Form]) -> Form:
    """Raises SettingsError naming the file and each wrong key."""
    try:
        table = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    return read_table(str(path), TypeAdapter(form), table)


def read_registry(path: Path) -> RegistryForm:
    """Raises SettingsError naming the file and each wrong key."""
    return _checked(str(path), TypeAdapter(RegistryForm), _text(path))


def read_styles(path: Path) -> tuple[Style, ...]:
    """The styles of a JSON file in the widespread form `[{"name", "prompt", "negative_prompt"}]`, exactly as worded.

    Raises SettingsError naming the file and each wrong key.
    """
    return _checked(str(path), STYLES, _text(path))


def read_table(where: str, form: TypeAdapter[Entry], table: object) -> Entry:
    """A table that has been parsed. `where` opens the sentence of the SettingsError."""
    return _checked(where, form, json.dumps(table, default=str))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None


def _checked(where: str, form: TypeAdapter[Entry], text: str) -> Entry:
    # From JSON, because only there does strict validation take an array for a tuple and a table for a dataclass.
    try:
        return form.validate_json(text)
    except ValidationError as error:
        problems = "; ".join(_sentence(problem) for problem in error.errors())
        raise SettingsError(f"{where}: {problems}") from None


def _sentence(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    return f"{key}: {WORDING.get(problem['type'], problem['msg'])}" if key else str(problem["msg"])
