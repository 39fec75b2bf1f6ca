"""What an error means on the wire. The only place that knows status codes.

Every answer that is not a success has the body `{"error", "code", "request_id", "details"}`.
"""

import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gesso import errors
from gesso.api.json_body import JsonReply
from gesso.api.trace import request_id_of

log = structlog.get_logger()

NOT_READY = 503


class Answer(NamedTuple):
    """Status and code of a kind of error."""

    status: int
    code: str


ANSWERS: Mapping[type[Exception], Answer] = {
    errors.BadRequest: Answer(400, "bad_request"),
    errors.Unauthorized: Answer(401, "unauthorized"),
    errors.Forbidden: Answer(403, "forbidden"),
    errors.NotFound: Answer(404, "not_found"),
    errors.InsufficientCredits: Answer(406, "insufficient_credits"),
    errors.Conflict: Answer(409, "conflict"),
    errors.TooLarge: Answer(413, "too_large"),
    errors.QueueFull: Answer(429, "queue_full"),
    errors.RateLimited: Answer(429, "rate_limited"),
    errors.Cancelled: Answer(499, "cancelled"),
    errors.PaintingFailed: Answer(500, "server_error"),
    errors.ServiceUnavailable: Answer(502, "service_unavailable"),
    errors.DeadlineExceeded: Answer(504, "timeout"),
}
UNEXPECTED = Answer(500, "server_error")
METHOD_NOT_ALLOWED = 405
_FRAMEWORK_CODES = {404: "not_found", METHOD_NOT_ALLOWED: "method_not_allowed"}


class Problems:
    """Answers whatever is raised before or around the routes, and reports what nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # the edge: what escapes here is reported and answered, never shown
            if scope["type"] != "http":
                raise
            if not isinstance(error, errors.GessoError):
                log.error("unexpected error", exception=_trace(error))
            if not started:
                await answer(Request(scope), error)(scope, receive, send)


def _trace(error: Exception) -> str:
    """Where it went wrong, without the values of variables: those may be prompts, images or keys."""
    return "".join(traceback.format_exception(error))


def install(app: FastAPI) -> None:
    """Have every exception of `app`'s routes answered here, the framework's own included."""
    for kind in (errors.GessoError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_raised)


async def _answer_raised(request: Request, error: Exception) -> JsonReply:
    return answer(request, error)


def answer(request: Request, error: Exception) -> JsonReply:
    """The reply that says what went wrong."""
    if isinstance(error, HTTPException):
        return _framework(request, error)
    if not isinstance(error, errors.GessoError):
        return _reply(request, UNEXPECTED, "Something went wrong on the server's side; it has been logged.")
    meaning = next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), UNEXPECTED)
    return _reply(request, meaning, error.sentence, _details(error), _headers(error))


def _framework(request: Request, error: HTTPException) -> JsonReply:
    code = _FRAMEWORK_CODES.get(error.status_code, "bad_request" if error.status_code < 500 else "server_error")
    headers = dict(error.headers or {})
    sentences = {
        "not_found": "There is nothing at this address.",
        "method_not_allowed": f"{request.method} is not possible here; allowed: {headers.get('Allow', '')}.",
    }
    sentence = sentences.get(code, HTTPStatus(error.status_code).phrase)
    return _reply(request, Answer(error.status_code, code), sentence, headers=headers)


def _reply(
    request: Request,
    meaning: Answer,
    sentence: str,
    details: list[dict[str, object]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JsonReply:
    content = {"error": sentence, "code": meaning.code, "request_id": request_id_of(request), "details": details or []}
    return JsonReply(content, meaning.status, headers)


def _details(error: errors.GessoError) -> list[dict[str, object]]:
    problems = error.problems if isinstance(error, errors.BadRequest) else ()
    return [{"parameter": one.parameter, "value": one.value, "problem": one.problem} for one in problems]


def _headers(error: errors.GessoError) -> dict[str, str]:
    if isinstance(error, errors.QueueFull | errors.RateLimited | errors.ServiceUnavailable):
        return {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, errors.Unauthorized) else {}
