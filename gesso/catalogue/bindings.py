"""What paints where: that every role at every endpoint has a checkpoint, and one that can do it.

A binding is named `slug`, `slug/refiner`, or `slug/BASE_MODEL` at an endpoint whose callers choose.
"""

from collections.abc import Collection, Mapping

from gesso.catalogue.entries import Checkpoint, Endpoint, Parameter
from gesso.errors import SettingsError

LENDERS = {"text_encoders": ("base", "refiner"), "vae": ("base", "refiner", "vae")}
"""The kinds of checkpoint that have a part to lend."""


def roles(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """What an endpoint with these parameters needs checkpoints for."""
    bases = parameters["base_model"].choices if "base_model" in parameters else ("base",)
    return (*bases, "refiner") if "refiner" in parameters else bases


def binding_name(slug: str, role: str) -> str:
    """How files name a role at an endpoint."""
    return slug if role == "base" else f"{slug}/{role}"


def bind(
    slug: str, needed: Collection[str], bindings: Mapping[str, str], checkpoints: Mapping[str, Checkpoint]
) -> dict[str, str]:
    """Role -> checkpoint id at one endpoint. Raises SettingsError naming the binding that is missing or cannot work."""
    bound = {role: _bound(binding_name(slug, role), role, bindings, checkpoints) for role in needed}
    families = {role: checkpoints[id].family for role, id in bound.items()}
    for role, family in families.items():
        # A refiner goes on with the base's own latents.
        if "refiner" in families and family != families["refiner"]:
            raise SettingsError(
                f"bindings: {binding_name(slug, role)!r} = {bound[role]!r} is of the family {family!r}, its refiner "
                f"{bound['refiner']!r} of {families['refiner']!r}; bind '{slug}/refiner' to one of the same family"
            )
    return bound


def check_names(bindings: Mapping[str, str], endpoints: Mapping[str, Endpoint]) -> None:
    """Raises SettingsError for a binding that no endpoint has."""
    names = [binding_name(slug, role) for slug, endpoint in endpoints.items() for role in endpoint.checkpoints]
    for name in bindings:
        if name not in names:
            raise SettingsError(f"bindings: there is no {name!r} to bind; there are: {', '.join(names)}")


def check_lenders(checkpoint: Checkpoint, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Raises SettingsError where a checkpoint borrows from none, from another family, or from one that borrows too."""
    for part, id in (("text_encoders", checkpoint.text_encoders), ("vae", checkpoint.vae)):
        if id is None:
            continue
        where = f"checkpoint {checkpoint.id!r}: {part} = {id!r}"
        lender = _known(where, id, checkpoints)
        if lender.family != checkpoint.family:
            raise SettingsError(f"{where} is of the family {lender.family!r}, not {checkpoint.family!r}")
        if checkpoint.kind == "lora":
            raise SettingsError(f"{where}: a LoRA changes what others paint with, and borrows nothing")
        if getattr(lender, part) is not None or lender.kind not in LENDERS[part]:
            raise SettingsError(f"{where} has none of its own to lend")


def check_name(lora: Checkpoint) -> None:
    """Raises SettingsError for a LoRA that no prompt could name."""
    if any(mark in lora.id for mark in "<>:\n") or lora.id != lora.id.strip() or not lora.id:
        raise SettingsError(
            f"checkpoint {lora.id!r}: a LoRA is named in prompts, so without any of < > : or outer spaces"
        )


def _bound(name: str, role: str, bindings: Mapping[str, str], checkpoints: Mapping[str, Checkpoint]) -> str:
    if name not in bindings:
        raise SettingsError(f"bindings: nothing is bound to {name!r}")
    kind = "refiner" if role == "refiner" else "base"
    checkpoint = _known(f"bindings: {name!r} = {bindings[name]!r}", bindings[name], checkpoints)
    if checkpoint.kind != kind:
        raise SettingsError(f"bindings: {name!r} needs a {kind}, {checkpoint.id!r} is a {checkpoint.kind}")
    return checkpoint.id


def _known(where: str, id: str, checkpoints: Mapping[str, Checkpoint]) -> Checkpoint:
    if id not in checkpoints:
        raise SettingsError(f"{where} is no checkpoint; there are: {', '.join(checkpoints)}")
    return checkpoints[id]
