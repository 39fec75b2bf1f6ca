"""Everything that can be asked of this server, in one frozen object: endpoints, checkpoints, styles.

Made once at the start from the files that ship with the package and, where the settings name them, the owner's own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from gesso.catalogue.bindings import bind, check_lenders, check_name, check_names, roles
from gesso.catalogue.entries import Checkpoint, Endpoint, Style
from gesso.catalogue.forms import (
    CheckpointsForm,
    EndpointForm,
    EndpointsForm,
    OwnForm,
    PriceForm,
    RegistryForm,
    SchedulersForm,
    read_toml,
)
from gesso.catalogue.parameters import ParameterMaker
from gesso.catalogue.price import Price
from gesso.catalogue.styles import load_styles
from gesso.errors import NotFound, SettingsError

HERE = Path(__file__).parent
MICROCREDITS = 1_000_000
NOTHING_NOTED = RegistryForm()
UNCHANGED = PriceForm()
CLIP_SKIPS = range(1, 13)
"""As many as the smaller of SDXL's text encoders has layers."""

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Entries by slug, id and name."""

    endpoints: Mapping[str, Endpoint]
    checkpoints: Mapping[str, Checkpoint]
    styles: Mapping[str, Style]
    originals: Mapping[str, str]
    """Binding (`slug`, `slug/role`) -> id of the checkpoint that the documented service paints with there."""

    @property
    def loras(self) -> dict[str, Checkpoint]:
        """Of the checkpoints, what changes others, by id."""
        return {id: entry for id, entry in self.checkpoints.items() if entry.kind == "lora"}

    def endpoint(self, slug: str) -> Endpoint:
        """Raises NotFound, naming the slugs there are."""
        try:
            return self.endpoints[slug]
        except KeyError:
            raise NotFound(f"There is no endpoint {slug!r}; there are: {', '.join(self.endpoints)}.") from None


def load_catalogue(
    own: Path | None = None,
    styles: Path | None = None,
    longest_prompt: int = 20_000,
    registry: RegistryForm = NOTHING_NOTED,
) -> Catalogue:
    """The shipped catalogue; over it what `gesso models` has noted, the owner's changes (TOML) and styles (JSON).

    `longest_prompt` is in characters. Raises SettingsError naming the file or entry, the key and what would be right.
    """
    changes = read_toml(own, OwnForm) if own else OwnForm()
    shipped = read_toml(HERE / "checkpoints.toml", CheckpointsForm)
    known = _found((*shipped.checkpoint, *changes.checkpoint), registry)
    checkpoints = _checkpoints((*known, *registry.checkpoint))
    worded = load_styles(HERE / "styles.json") | (load_styles(styles) if styles else {})
    bindings = {**shipped.bindings, **registry.bindings, **changes.bindings}
    endpoints = {
        slug: replace(endpoint, checkpoints=_frozen(bind(slug, roles(endpoint.parameters), bindings, checkpoints)))
        for slug, endpoint in _endpoints(changes, tuple(worded), longest_prompt).items()
    }
    check_names(bindings, endpoints)
    return Catalogue(_frozen(endpoints), _frozen(checkpoints), _frozen(worded), _frozen(shipped.originals))


def _found(known: tuple[Checkpoint, ...], registry: RegistryForm) -> list[Checkpoint]:
    """These checkpoints, with their files where they really lie."""
    return [replace(entry, file=registry.files.get(entry.id, entry.file)) for entry in known]


def _checkpoints(entries: tuple[Checkpoint, ...]) -> dict[str, Checkpoint]:
    checkpoints = _named("checkpoint", [(entry.id, entry) for entry in entries])
    for checkpoint in entries:
        check_lenders(checkpoint, checkpoints)
        if checkpoint.clip_skip not in CLIP_SKIPS:
            raise SettingsError(f"checkpoint {checkpoint.id!r}: clip_skip = {checkpoint.clip_skip} is none of 1 to 12")
        if checkpoint.kind == "lora":
            check_name(checkpoint)
    return checkpoints


def _endpoints(changes: OwnForm, styles: tuple[str, ...], longest_prompt: int) -> dict[str, Endpoint]:
    """All endpoints, nothing bound to them yet."""
    shipped = read_toml(HERE / "endpoints.toml", EndpointsForm)
    schedulers = read_toml(HERE / "schedulers.toml", SchedulersForm)
    lists = {**schedulers.lists, "styles": styles}
    maker = ParameterMaker(shipped.parameter, lists, schedulers.aliases, longest_prompt)
    forms = _named("endpoint", [(form.slug, form) for form in (*shipped.endpoint, *changes.endpoint)])
    for slug in changes.prices:
        if slug not in forms:
            raise SettingsError(f"prices: there is no endpoint {slug!r}; there are: {', '.join(forms)}")
    return {slug: _endpoint(form, changes.prices.get(slug, UNCHANGED), maker) for slug, form in forms.items()}


def _endpoint(form: EndpointForm, changed: PriceForm, maker: ParameterMaker) -> Endpoint:
    where = f"endpoint {form.slug!r}"
    parameters = {name: maker.make(where, name, own) for name, own in form.parameters.items()}
    example = HERE / "examples" / f"{form.slug}.json"
    return Endpoint(
        slug=form.slug,
        name=form.name,
        description=form.description,
        price=_price(where, form, changed),
        returns=form.returns,
        parameters=_frozen(parameters),
        checkpoints={},
        example=_frozen(json.loads(example.read_text("utf-8")) if example.exists() else {}),
    )


def _price(where: str, form: EndpointForm, changed: PriceForm) -> Price:
    """What the owner does not say stays as it is."""
    credits = form.price if changed.price is None else changed.price
    priced = form.price_for if changed.price_for is None else changed.price_for
    return Price(_microcredits(where, credits), priced.steps, priced.pixels)


def _microcredits(where: str, credits: float) -> int:
    exact = Decimal(str(credits)) * MICROCREDITS
    if exact % 1:
        raise SettingsError(f"{where}: the price {credits} is finer than a millionth of a credit")
    return int(exact)


def _named(kind: str, entries: list[tuple[str, Entry]]) -> dict[str, Entry]:
    names = [name for name, _ in entries]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"{kind} {name!r} is there twice; give yours a name of its own")
    return dict(entries)


def _frozen(entries: Mapping[str, Entry]) -> Mapping[str, Entry]:
    return MappingProxyType(dict(entries))
