"""`gesso models pull`: a checkpoint from where it was published, its licence shown first."""

import asyncio
import sys
from pathlib import Path

from gesso import app as house
from gesso.catalogue.sources import Offer, Wanted, offer_named, offer_of
from gesso.cli.findings import what_is_at
from gesso.cli.models import note_added
from gesso.cli.progress import show_bytes
from gesso.errors import BadRequest
from gesso.settings import read_settings
from gesso.storage.download import Remote, download


def pull(
    what: str,
    /,
    *,
    id: str | None = None,
    sha256: str | None = None,
    yes: bool = False,
    vae: str | None = None,
    text_encoders: str | None = None,
    clip_skip: int = 2,
) -> None:
    """Fetch a checkpoint or a LoRA and make it known. What broke off goes on where it was.

    Args:
        what: An id of the catalogue, OWNER/NAME or OWNER/NAME:FILE on the model hub, or an address.
        id: What to call it, if it is not in the catalogue.
        sha256: What the file must have, if that is not known.
        yes: The licence was read; do not ask.
        vae: The id of a checkpoint that lends its VAE.
        text_encoders: The id of a checkpoint that lends its text encoders.
        clip_skip: Which of the text encoders' layers is read, counted from the last as 1.
    """
    settings = read_settings()
    entry = house.read_catalogue(settings).checkpoints.get(what)
    if entry is not None and entry.source is None:
        raise BadRequest(f"nobody has said where {what!r} can be had")
    offer = offer_of(entry.source) if entry and entry.source else offer_named(what)
    path = entry.path(settings.models) if entry else settings.models / (offer.name if id is None else _named(id, offer))
    if path.is_file() or (path / "model_index.json").exists():
        raise BadRequest(f"{path} is there already; gesso models verify reads whether it is whole")
    _ask(what, offer, yes)
    digest = asyncio.run(_fetch(offer, path, sha256))
    if entry is None:
        note_added(
            settings,
            path,
            what_is_at(path),
            digest,
            id=id,
            vae=vae,
            text_encoders=text_encoders,
            clip_skip=clip_skip,
        )
    else:
        print(f"{entry.id}: {path}")


def _named(id: str, offer: Offer) -> str:
    return id + Path(offer.name).suffix if offer.name.endswith(".safetensors") else id


def _ask(what: str, offer: Offer, yes: bool) -> None:
    """Raises BadRequest unless the licence is agreed to."""
    print(f"{what}: {len(offer.files)} file(s). Licence: {offer.licence}. {offer.note}".rstrip(), file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest("nobody is here to agree to that; say --yes once you have read it")
    print("Fetch it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadRequest("nothing was fetched")


async def _fetch(offer: Offer, path: Path, sha256: str | None) -> str | None:
    """The digest of a single file; a folder has none, and its index comes last, so that half of one is none."""
    single = offer.files[0].place == ""
    if single:
        return await download(_remote(offer.files[0], sha256), path, show_bytes)
    for wanted in sorted(offer.files, key=lambda file: file.place == "model_index.json"):
        if not (path / wanted.place).exists():
            await download(_remote(wanted, None), path / wanted.place, show_bytes)
    return None


def _remote(wanted: Wanted, sha256: str | None) -> Remote:
    return Remote(wanted.url, sha256 or wanted.sha256, wanted.size, dict(wanted.headers))
