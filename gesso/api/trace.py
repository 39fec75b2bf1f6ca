"""The id of a request: made here, said in every reply, bound to every line of the log.

The log has one line per request. It names no prompt, no image, no key, and no picture's address, which opens it.
"""

import time
import uuid
from typing import cast
from urllib.parse import quote

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

SECRET_PATHS = "/images/"
LONGEST_PATH = 120
_PLAIN = "/!$&'()*+,;=:@~"


class Trace:
    """The outermost layer: nothing leaves the server without its request id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._traced(scope, receive, send, request_id)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started, status = time.monotonic(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            seconds = round(time.monotonic() - started, 3)
            log.info("request", method=scope["method"], path=_path(scope), status=status, seconds=seconds)


def request_id_of(request: Request) -> str:
    """The id that this request has everywhere: in its reply, in the log, as a job."""
    return cast(str, request.state.request_id)


def _path(scope: Scope) -> str:
    """As it was asked for; what a terminal would obey is written as %XX."""
    path = str(scope["path"])
    return f"{SECRET_PATHS}…" if path.startswith(SECRET_PATHS) else quote(path[:LONGEST_PATH], safe=_PLAIN)
