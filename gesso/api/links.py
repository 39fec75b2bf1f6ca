"""Where the server's own pictures are: the absolute URLs that replies name, and that come back as start images."""

import re
from dataclasses import dataclass

from starlette.requests import Request

from gesso.settings import Settings

PICTURE_PATH = "/images/{token}.png"
_HOST = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_FOLDER = "/images/"
_FILE = re.compile(r".*/images/([0-9a-f]+)\.png")


def token_in(url: str) -> str | None:
    """The token in a URL that has the form of a picture's, whatever host and query it has; None in any other."""
    match = _FILE.fullmatch(url.strip().partition("?")[0].partition("#")[0])
    return match[1] if match and url.strip().lower().startswith(("http://", "https://")) else None


@dataclass(frozen=True, slots=True)
class Links:
    """`base` is the server's address as its callers see it; `others` are addresses it is known under besides."""

    base: str
    others: tuple[str, ...] = ()

    def picture(self, token: str) -> str:
        """The absolute URL of a picture."""
        return self.base + PICTURE_PATH.format(token=token)

    def is_ours(self, url: str) -> bool:
        """Whether a URL is one of this server's own."""
        base = url.strip().partition(_FOLDER)[0].lower()
        return base in (one.lower() for one in (self.base, *self.others))


def links_of(request: Request, settings: Settings) -> Links:
    """As the settings say; otherwise under the host that the request was sent to."""
    asked = f"{request.scope['scheme']}://{_host(request)}{request.scope.get('root_path', '')}"
    return Links(settings.public_url, (asked,)) if settings.public_url else Links(asked)


def _host(request: Request) -> str:
    said = request.headers.get("host", "")
    if _HOST.fullmatch(said):
        return said
    host, port = request.scope.get("server") or ("localhost", None)
    return f"{host}:{port}" if port else str(host)
