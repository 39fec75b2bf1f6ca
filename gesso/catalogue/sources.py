"""Where the files of a checkpoint can be had: a source of the catalogue, a repository on the model hub, or an address.

What the hub is called, and the key to it, are the hub's own library's affair (`HF_ENDPOINT`, `HF_TOKEN`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from huggingface_hub import HfApi, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from gesso.catalogue.entries import Source
from gesso.errors import BadRequest, ServiceUnavailable

COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2")
TABLES = ("model_index.json", "scheduler/scheduler_config.json")
VARIANTS = (".fp16.safetensors", ".safetensors")
"""What is fetched of a folder's weights, by preference: what is published in half precision was mostly made in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file: where it is, and where it goes, relative to the checkpoint's own place; "" is that place itself."""

    url: str
    place: str
    sha256: str | None = None
    size: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is to fetch, what the file or folder is called, and under what licence, as far as anybody says."""

    name: str
    licence: str
    note: str
    files: tuple[Wanted, ...]


def offer_of(source: Source) -> Offer:
    """What a source of the catalogue offers. Raises ServiceUnavailable where its hub does not answer."""
    if source.file is None:
        folder = _folder(source.repository)
        return Offer(folder.name, source.licence, source.note, folder.files)
    file = _on_hub(source.repository, source.file, "", source.sha256, source.size_bytes)
    return Offer(source.file, source.licence, source.note, (file,))


def offer_named(name: str) -> Offer:
    """What is offered under `owner/name`, `owner/name:file.safetensors`, or an http(s) address of one file.

    Raises:
        BadRequest: it is none of these.
        ServiceUnavailable: the hub does not answer, or knows no such repository.
    """
    if urlsplit(name).scheme in ("http", "https"):
        file = PurePosixPath(unquote(urlsplit(name).path)).name
        if not file.endswith(".safetensors"):
            file = f"{file or 'checkpoint'}.safetensors"
        return Offer(file, "not known; read the page that this address is from", "", (Wanted(name, ""),))
    repository, _, file = name.partition(":")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise BadRequest(f"{name!r} is no checkpoint of the catalogue, no owner/name on the hub and no http(s) address")
    if not file:
        return _folder(repository)
    licence, _ = _card(repository)
    return Offer(PurePosixPath(file).name, licence, "", (_on_hub(repository, file, ""),))


def _folder(repository: str) -> Offer:
    licence, names = _card(repository)
    if "model_index.json" not in names:
        files = [name for name in names if name.endswith(".safetensors") and "/" not in name]
        raise BadRequest(f"{repository} is no folder in diffusers' layout; name one of its files: {', '.join(files)}")
    wanted = [name for name in TABLES if name in names]
    for component in COMPONENTS:
        wanted += [name for name in (f"{component}/config.json",) if name in names]
        wanted += _weights(component, names)
    return Offer(repository.split("/")[1], licence, "", tuple(_on_hub(repository, name, name) for name in wanted))


def _weights(component: str, names: Sequence[str]) -> list[str]:
    inside = [name for name in names if name.startswith(f"{component}/")]
    for variant in VARIANTS:
        whole = [name for name in inside if name.endswith(variant) and name.count(".") == variant.count(".")]
        if whole:
            return whole
    return [name for name in inside if name.endswith((".safetensors", ".safetensors.index.json"))]


def _card(repository: str) -> tuple[str, list[str]]:
    """The licence that a repository states, and the names of its files."""
    try:
        info = HfApi().model_info(repository)
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ServiceUnavailable(f"{repository} cannot be asked for: {str(error).splitlines()[0]}") from None
    stated = info.card_data.get("license") if info.card_data else None
    return str(stated or "not stated"), [file.rfilename for file in info.siblings or []]


def _on_hub(repository: str, file: str, place: str, sha256: str | None = None, size: int | None = None) -> Wanted:
    token = get_token()
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    return Wanted(hf_hub_url(repository, file), place, sha256, size, headers)
