"""Who asks: the key in a request's headers, checked before anything else about the request."""

from typing import cast

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gesso.accounts.keys import Caller, Keys

GUARDED = ("/v1", "/v2", "/sdapi", "/metrics")
"""Where nothing is said without a key, not even that there is nothing."""


class Authentication:
    """Lets guarded paths through for those whose key counts; raises Unauthorized for others."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_guarded(scope["path"]):
            scope["state"]["caller"] = await self._keys.authenticate(key_in(Headers(scope=scope)))
        await self._app(scope, receive, send)


def caller_of(request: Request) -> Caller:
    """Whoever sent a request to a guarded path."""
    return cast(Caller, request.state.caller)


def key_in(headers: Headers) -> str | None:
    """The key in `x-api-key`, or else in `Authorization: Bearer`."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    return headers.get("x-api-key", "").strip() or (token.strip() if scheme.lower() == "bearer" else "") or None


def _is_guarded(path: str) -> bool:
    return any(path == start or path.startswith(f"{start}/") for start in GUARDED)
