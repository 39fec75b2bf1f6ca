"""How often a caller may ask: every POST to a guarded path counts, and every answer says how its caller stands."""

import contextlib

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gesso.accounts.keys import Caller
from gesso.accounts.rate_limits import Rates, Standing
from gesso.api.problems import answer
from gesso.errors import ServiceUnavailable


class RateLimits:
    """Answers what is beyond its caller's rates. Must come after whoever finds out who asks.

    It answers a refusal itself, and does not raise it, so that this answer too says how the caller stands.
    """

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get("caller")
        standing = None if caller is None else await self._standing(caller, scope["method"])
        if standing is None:
            await self._app(scope, receive, send)
            return

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-rate-limit-remaining"] = str(standing.remaining)
                headers["x-rate-limit-reset-at-utc"] = standing.reset.isoformat()
            await send(message)

        answering = self._app if standing.refusal is None else answer(Request(scope), standing.refusal)
        await answering(scope, receive, labelled)

    async def _standing(self, caller: Caller, method: str) -> Standing | None:
        if method == "POST":
            return await self._rates.hit(caller)
        with contextlib.suppress(ServiceUnavailable):  # what is not limited is answered all the same
            return await self._rates.look(caller)
        return None
