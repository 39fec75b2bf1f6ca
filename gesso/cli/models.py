"""`gesso models`: which checkpoints and LoRAs there are, and what paints with them.

What is changed here holds in a running server at once.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cyclopts import App

from gesso import app as house
from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.entries import Checkpoint
from gesso.catalogue.forms import RegistryForm
from gesso.catalogue.registry import changing, registry_in
from gesso.cli.findings import STANDARD, Found, family_of, what_is_at
from gesso.cli.listing import show
from gesso.cli.progress import show_bytes
from gesso.errors import BadRequest, GessoError
from gesso.sdxl.architecture import Architecture
from gesso.settings import Settings, read_settings
from gesso.storage.digest import sha256_of

models = App(name="models", help="Checkpoints and LoRAs.")
models.command("gesso.cli.pull:pull")


@models.command(name="list")
def list_models(*, json: bool = False) -> None:
    """Every checkpoint and LoRA of the catalogue: which endpoints it serves, and whether its file is here.

    Args:
        json: Print JSON.
    """
    settings = read_settings()
    catalogue = house.read_catalogue(settings)
    rows = []
    for checkpoint in catalogue.checkpoints.values():
        path = checkpoint.path(settings.models)
        rows.append(
            {
                "id": checkpoint.id,
                "kind": checkpoint.kind,
                "present": path.exists(),
                "megabytes": round(_size(path) / 1e6, 1) if path.exists() else None,
                "serves": _served_by(checkpoint.id, catalogue),
                "file": str(path),
            }
        )
    show(rows, json)


@models.command
def add(
    path: Path,
    /,
    *,
    id: str | None = None,
    title: str | None = None,
    vae: str | None = None,
    text_encoders: str | None = None,
    clip_skip: int = 2,
    family: str | None = None,
) -> None:
    """Make a file or folder that you have known by an id. It stays where it is.

    Args:
        path: A .safetensors file of a checkpoint or of a LoRA, or a folder in diffusers' layout.
        id: What to call it; by default its name. A file that the catalogue knows by its hash has its id there.
        title: What people read.
        vae: The id of a checkpoint that lends its VAE.
        text_encoders: The id of a checkpoint that lends its text encoders.
        clip_skip: Which of the text encoders' layers is read, counted from the last as 1.
        family: Only members of one family lend to one another; by default sdxl. A LoRA's is told by its shapes.
    """
    settings, path = read_settings(), path.expanduser().resolve()
    found = what_is_at(path)
    digest = None if path.is_dir() else sha256_of(path, show_bytes)
    known = _known_by(digest, house.read_catalogue(settings))
    if known is not None and id is None:
        _note(settings, lambda registry: _with_file(registry, known.id, _place(path, settings)))
        print(f"{known.id}: {known.title}, known by its hash")
        return
    lent = {"vae": vae, "text_encoders": text_encoders}
    note_added(settings, path, found, digest, id=id, title=title, family=family, clip_skip=clip_skip, **lent)


def note_added(
    settings: Settings,
    path: Path,
    found: Found,
    digest: str | None,
    *,
    id: str | None = None,
    title: str | None = None,
    family: str | None = None,
    vae: str | None = None,
    text_encoders: str | None = None,
    clip_skip: int = 2,
) -> None:
    """Make a checkpoint or a LoRA known and say what it is; `digest` is its file's.

    Raises GessoError where that cannot be.
    """
    name = path.name if path.is_dir() else path.stem
    kind = found.kind if isinstance(found, Architecture) else "lora"
    if not isinstance(found, Architecture):
        family = family_of(found, house.read_catalogue(settings), settings.models, family)
    checkpoint = Checkpoint(
        id=id or name,
        title=title or name,
        file=_place(path, settings),
        kind=kind,
        family=family or STANDARD,
        text_encoders=text_encoders,
        vae=vae,
        sha256=digest,
        clip_skip=clip_skip,
    )
    if isinstance(found, Architecture) and found.kind != "vae":
        _require_lent("VAE", "--vae", found.vae, vae)
        _require_lent("text encoders", "--text-encoders", found.text_encoder_2, text_encoders)
    _note(settings, lambda registry: _with_checkpoint(registry, checkpoint))
    print(f"{checkpoint.id}: {_told(found, checkpoint)}")


def _told(found: Found, checkpoint: Checkpoint) -> str:
    if not isinstance(found, Architecture):
        return f"a LoRA for the family {checkpoint.family}, changes {', '.join(sorted(found.parts))}"
    return f"a {found.kind}" + ("" if found.kind == "vae" else f", predicts {found.prediction_type}")


def _place(path: Path, settings: Settings) -> str:
    return str(path.relative_to(settings.models)) if path.is_relative_to(settings.models) else str(path)


@models.command
def remove(id: str, /) -> None:
    """Forget a checkpoint or a LoRA that was added. Its file stays where it is.

    Args:
        id: Which one.
    """

    def without(registry: RegistryForm) -> RegistryForm:
        kept = tuple(entry for entry in registry.checkpoint if entry.id != id)
        files = {name: file for name, file in registry.files.items() if name != id}
        if len(kept) == len(registry.checkpoint) and len(files) == len(registry.files):
            raise BadRequest(f"no checkpoint {id!r} was added")
        return registry.model_copy(update={"checkpoint": kept, "files": files})

    _note(read_settings(), without)


@models.command
def bind(where: str, id: str, /, *, refiner: str | None = None) -> None:
    """Let a checkpoint paint at an endpoint from now on.

    Args:
        where: An endpoint, or one of its base models as `sdxl-img2img/realvis`, or `sdxl1.0-txt2img/refiner`.
        id: The checkpoint.
        refiner: The checkpoint that refines there.
    """
    settings = read_settings()
    bindings = {where: id} | ({f"{where}/refiner": refiner} if refiner else {})

    def check(catalogue: Catalogue) -> None:
        for name, wanted in bindings.items():
            slug, _, role = name.partition("/")
            if (bound := catalogue.endpoints[slug].checkpoints[role or "base"]) != wanted:
                raise BadRequest(
                    f"{settings.catalogue_file} binds {name!r} to {bound!r} and goes before: change it there"
                )

    catalogue = _note(
        settings, lambda registry: registry.model_copy(update={"bindings": {**registry.bindings, **bindings}}), check
    )
    for wanted in bindings.values():
        _warn_if_missing(catalogue.checkpoints[wanted], settings)


@models.command
def verify(*ids: str, json: bool = False) -> None:
    """Whether files are what was added or published, and every weight is there. Exit status 1 if something is wrong.

    Files are read whole for their hash; of folders the weights' names are looked through.

    Args:
        ids: Which checkpoints and LoRAs; by default all that are here.
        json: Print JSON.
    """
    settings = read_settings()
    catalogue = house.read_catalogue(settings)
    here = [entry.id for entry in catalogue.checkpoints.values() if entry.path(settings.models).exists()]
    if unknown := [id for id in ids if id not in catalogue.checkpoints]:
        raise BadRequest(f"there is no checkpoint {unknown[0]!r}")
    rows = [_verified(catalogue.checkpoints[id], catalogue, settings) for id in ids or here]
    show(rows, json)
    if not all(row["good"] for row in rows):
        sys.exit(1)


def _verified(checkpoint: Checkpoint, catalogue: Catalogue, settings: Settings) -> dict[str, object]:
    path = checkpoint.path(settings.models)
    try:
        if checkpoint.kind == "lora":
            _require_whole_lora(checkpoint, path, catalogue, settings)
        else:
            _require_whole(path)
        return {"id": checkpoint.id, "good": True, "found": _found(checkpoint, path)}
    except GessoError as error:
        return {"id": checkpoint.id, "good": False, "found": error.sentence}


def _require_whole(path: Path) -> None:
    from gesso.sdxl.checkpoint import require_whole

    require_whole(str(path))


def _require_whole_lora(checkpoint: Checkpoint, path: Path, catalogue: Catalogue, settings: Settings) -> None:
    from gesso.sdxl.lora import open_lora

    family_of(open_lora(str(path)), catalogue, settings.models, checkpoint.family)


def _found(checkpoint: Checkpoint, path: Path) -> str:
    """Raises GessoError saying what is wrong."""
    if path.is_dir():
        return "every weight is there"
    digest = sha256_of(path, show_bytes)
    if checkpoint.expected_sha256 is None:
        return f"every weight is there; sha256 {digest}, of which nothing is known"
    if digest != checkpoint.expected_sha256:
        raise BadRequest(f"{path} has the sha256 {digest}, and should have {checkpoint.expected_sha256}")
    return "every weight is there, and the sha256 is right"


def _note(
    settings: Settings,
    change: Callable[[RegistryForm], RegistryForm],
    check: Callable[[Catalogue], None] = lambda catalogue: None,
) -> Catalogue:
    """Change what is noted, if the catalogue is whole with it. Raises GessoError saying why it is not."""
    with changing(settings.models) as replace_with:
        registry = change(registry_in(settings.models))
        catalogue = house.catalogue_with(settings, registry)
        check(catalogue)
        replace_with(registry)
    return catalogue


def _with_file(registry: RegistryForm, id: str, file: str) -> RegistryForm:
    return registry.model_copy(update={"files": {**registry.files, id: file}})


def _with_checkpoint(registry: RegistryForm, checkpoint: Checkpoint) -> RegistryForm:
    """Added again, an entry is what it is said to be now."""
    others = tuple(entry for entry in registry.checkpoint if entry.id != checkpoint.id)
    return registry.model_copy(update={"checkpoint": (*others, checkpoint)})


def _known_by(digest: str | None, catalogue: Catalogue) -> Checkpoint | None:
    """The checkpoint that was published with this hash."""
    entries = (entry for entry in catalogue.checkpoints.values() if entry.source and entry.source.sha256)
    return next((entry for entry in entries if entry.source and entry.source.sha256 == digest), None)


def _require_lent(what: str, option: str, own: Mapping[str, object] | None, lent: str | None) -> None:
    if own is None and lent is None:
        raise BadRequest(f"it has no {what} in it; say with {option} which checkpoint lends its own")


def _warn_if_missing(checkpoint: Checkpoint, settings: Settings) -> None:
    path = checkpoint.path(settings.models)
    if not path.exists():
        print(f"gesso: {path} is not there yet; requests will be answered with that", file=sys.stderr)


def _served_by(id: str, catalogue: Catalogue) -> list[str]:
    return [
        slug if role == "base" else f"{slug} ({role})"
        for slug, endpoint in catalogue.endpoints.items()
        for role, bound in endpoint.checkpoints.items()
        if bound == id
    ]


def _size(path: Path) -> int:
    """Bytes of a file, or of all that a folder's parts have."""
    files = [path] if path.is_file() else path.rglob("*.safetensors")
    return sum(file.stat().st_size for file in files)
