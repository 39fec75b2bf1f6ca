"""In which form a reply goes out, when several have a say."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from starlette.datastructures import Headers

from gesso.accounts.keys import KeyReplies
from gesso.catalogue.entries import Returns
from gesso.imaging.formats import FORMATS, Format, media_type
from gesso.settings import Replies

Form = Format | Literal["json"]

OFFICIAL_CLIENT = "SDK-PY"
"""What the documented service's own Python client says in `X-Initiator`; it wants the image itself."""

_FORMS: Mapping[str, Form] = {
    "application/json": "json",
    "image/jpg": "jpeg",
    **{media_type(form): form for form in FORMATS},
}


def reply_form(
    headers: Headers, *, as_base64: bool, key: KeyReplies | None, server: Replies, documented: Returns
) -> Form:
    """base64 > an explicit `Accept` > the key's setting > the official client > the server's > the catalogue."""
    if as_base64:
        return "json"
    client: Returns | None = "image" if headers.get("x-initiator") == OFFICIAL_CLIENT else None
    said = key or client or (documented if server == "documented" else server)
    return accepted_form(headers.getlist("accept")) or ("jpeg" if said == "image" else "json")


def accepted_form(accept: Sequence[str]) -> Form | None:
    """The form that `Accept` headers prefer; None where that is `*/*`, or nothing that is served here."""
    ranges = [_media_range(part) for part in ",".join(accept).split(",")]
    named = {one.name for one in ranges}
    wishes = [_Wish(one.quality, *_meaning(one.name, named)) for one in ranges if one.quality > 0]
    best = max((wish for wish in wishes if wish.rank), key=lambda wish: (wish.quality, wish.rank), default=None)
    return best.form if best else None


class _MediaRange(NamedTuple):
    name: str
    quality: float


class _Wish(NamedTuple):
    """`rank`: an exact type 3, `image/*` 2, `*/*` 1, what is not served 0. Of equal wishes the first counts."""

    quality: float
    rank: int
    form: Form | None


def _meaning(name: str, named: set[str]) -> tuple[int, Form | None]:
    if name in _FORMS:
        return 3, _FORMS[name]
    if name == "image/*":
        return 2, next((form for form in FORMATS if media_type(form) not in named), None)
    return int(name == "*/*"), None


def _media_range(part: str) -> _MediaRange:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    qualities = [piece[2:] for piece in parameters if piece.startswith("q=")]
    return _MediaRange(name, _quality(qualities[0]) if qualities else 1.0)


def _quality(text: str) -> float:
    """Clients that write nonsense here mean something all the same, so it counts in full."""
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0
