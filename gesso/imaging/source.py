"""What a client may write as `image`: an http(s) URL, a data: URI or bare base64, and the bytes each stands for."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from gesso.imaging.fetch import Fetcher
from gesso.imaging.refusal import refused

_URL = re.compile(r"https?:", re.IGNORECASE)
_DATA = re.compile(r"data:(?P<kind>[^,]{0,200}),", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


async def read_source(value: str, fetcher: Fetcher) -> bytes:
    """The bytes that `value` stands for; they may still be anything.

    Raises:
        BadRequest: there are none to be had, and why; names the parameter `image`.
    """
    if is_url(value):
        return await fetcher.fetch(value.strip())
    return embedded_bytes(value.strip())


def is_url(value: str) -> bool:
    """Whether `value` points elsewhere instead of carrying its bytes."""
    return _URL.match(value.lstrip()) is not None


def embedded_bytes(value: str) -> bytes:
    """The bytes inside a data: URI or bare base64, which may be URL-safe, unpadded or broken into lines."""
    match = _DATA.match(value)
    if match is None:
        return _from_base64(value)
    if match["kind"].rstrip().lower().endswith(";base64"):
        return _from_base64(unquote_to_bytes(value[match.end() :]).decode("latin-1"))
    return unquote_to_bytes(value[match.end() :])


def _from_base64(text: str) -> bytes:
    letters = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise refused(f"{_shown(text)} is neither an http or https URL, nor a data: URI, nor base64") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
