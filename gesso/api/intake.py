"""A request's body on its way in: never more than the limit, and read to its end before an early answer.

A client that is still sending when the connection closes sees a broken pipe instead of the answer, so what it still
sends is taken and thrown away for a while.
"""

import asyncio
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gesso.errors import TooLarge

PATIENCE = 10.0
SILENCE = 1.0
"""Seconds that a client may go on sending, and be silent meanwhile, before it is cut off after all."""
PATIENT_LIMITS = 8
"""How many times the limit is thrown away before that."""


class Intake:
    """Limits bodies to `limit` bytes, announced or not; beyond it, reading raises TooLarge."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limit)

        async def after_the_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.discard()
            await send(message)

        await self._app(scope, body.receive, after_the_body)


@dataclass(slots=True)
class _Body:
    source: Receive
    limit: int
    taken: int = 0
    complete: bool = False

    async def receive(self) -> Message:
        message = await self._next()
        if self.taken > self.limit:
            raise TooLarge(f"The body is larger than {self.limit} bytes, which is the most that is taken.")
        return message

    async def discard(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not self.complete and self.taken <= self.limit * PATIENT_LIMITS:
                    await asyncio.wait_for(self._next(), SILENCE)
        except TimeoutError:
            return

    async def _next(self) -> Message:
        message = await self.source()
        self.taken += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        return message
