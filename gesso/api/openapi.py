"""The machine-readable description of the interface, made from the catalogue that reads the requests."""

from collections.abc import Iterable
from importlib.metadata import version

from fastapi import APIRouter, Request

from gesso.api.idempotency import IDEMPOTENCY_HEADER, KEY_FORM
from gesso.api.json_body import JsonReply
from gesso.api.links import PICTURE_PATH, links_of
from gesso.api.metrics import METRICS_PATH
from gesso.api.parts import Parts
from gesso.api.prices import price_text
from gesso.api.problems import ANSWERS, NOT_READY, Answer
from gesso.api.quotes import DRY_RUN
from gesso.api.schemas import BINARY, HEADERS, PICTURES, PROBLEM, QUOTE, RATE_HEADERS, Schema
from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.entries import Endpoint
from gesso.catalogue.openapi import parameter_schema, request_schema
from gesso.errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    GessoError,
    InsufficientCredits,
    NotFound,
    PaintingFailed,
    QueueFull,
    RateLimited,
    ServiceUnavailable,
    TooLarge,
    Unauthorized,
)
from gesso.imaging.formats import FORMATS, media_type

_PAINTING_ERRORS: tuple[type[GessoError], ...] = (
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    InsufficientCredits,
    Conflict,
    TooLarge,
    QueueFull,
    RateLimited,
    PaintingFailed,
    ServiceUnavailable,
    DeadlineExceeded,
)


def routes(parts: Parts) -> APIRouter:
    """/openapi.json."""

    async def openapi(request: Request) -> JsonReply:
        return JsonReply(document(parts.catalogue, links_of(request, parts.settings).base))

    router = APIRouter()
    router.add_route("/openapi.json", openapi)
    return router


def document(catalogue: Catalogue, base: str) -> Schema:
    """The interface under `base` as OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gesso",
            "version": version("gesso"),
            "description": "SDXL images: exactly what the request said, or an error that says why.",
        },
        "servers": [{"url": base}],
        "security": [{"key": []}, {"bearer": []}],
        "paths": _paintings(catalogue) | _guarded_paths() | _open_paths(),
        "components": {
            "schemas": {"Pictures": PICTURES, "Quote": QUOTE, "Problem": PROBLEM},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "responses": _error_responses(),
        },
    }


def _paintings(catalogue: Catalogue) -> Schema:
    return {f"/v1/{slug}": {"post": _painting(endpoint)} for slug, endpoint in catalogue.endpoints.items()}


def _painting(endpoint: Endpoint) -> Schema:
    return {
        "operationId": endpoint.slug,
        "summary": endpoint.name,
        "description": f"{endpoint.description}\n\n{price_text(endpoint.price)}.",
        "parameters": [_dry_run(), _IDEMPOTENCY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request_schema(endpoint)}}},
        "responses": {
            "200": _success(),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _error_responses()},
        },
    }


_IDEMPOTENCY: Schema = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "description": "What the caller calls this request. Sent again under the same name, for a day, it is not done "
    "again but gets the same answer.",
    "schema": {"type": "string", "pattern": f"^{KEY_FORM.pattern}$"},
}


def _dry_run() -> Schema:
    schema = parameter_schema(DRY_RUN)
    return {"name": DRY_RUN.name, "in": "query", "description": schema.pop("description"), "schema": schema}


def _success() -> Schema:
    images = {media_type(form): {"schema": BINARY} for form in FORMATS}
    said = {"oneOf": [{"$ref": "#/components/schemas/Pictures"}, {"$ref": "#/components/schemas/Quote"}]}
    return {
        "description": "The pictures: as JSON, or as one image where the caller or the endpoint wants it so. With "
        f"`?{DRY_RUN.name}=true`, what they would cost, as JSON.",
        "headers": _headers(HEADERS + RATE_HEADERS),
        "content": {"application/json": {"schema": said}} | images,
    }


def _headers(described: Iterable[tuple[str, str, str]]) -> Schema:
    return {name: {"description": what, "schema": {"type": kind}} for name, kind, what in described}


def _error_responses() -> dict[str, Schema]:
    """One entry for each status; several kinds of error may share it."""
    said: dict[int, list[str]] = {}
    for kind in _PAINTING_ERRORS:
        said.setdefault(ANSWERS[kind].status, []).append(_sentence(kind, ANSWERS[kind]))
    headers = {"headers": _headers(RATE_HEADERS)}
    return {str(status): _error_response(" ".join(sentences)) | headers for status, sentences in said.items()}


def _sentence(kind: type[GessoError], answer: Answer) -> str:
    return f"`{answer.code}`: {(kind.__doc__ or '').partition(chr(10))[0]}"


def _error_response(description: str) -> Schema:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _guarded_paths() -> Schema:
    text = {"text/plain": {"schema": {"type": "string"}}}
    answers = {
        "200": {"description": "In Prometheus' text format.", "content": text},
        "401": _error_response("No key, or none that counts."),
        "403": _error_response("A key that is not the owner's."),
    }
    return {METRICS_PATH: {"get": {"summary": "What this server does, for its owner.", "responses": answers}}}


def _open_paths() -> Schema:
    status: Schema = {"application/json": {"schema": {"type": "object", "properties": {"status": {"type": "string"}}}}}
    token = {"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}
    ready = {
        "200": {"description": "It can paint.", "content": status},
        str(NOT_READY): {"description": "Not now; `reason` says why.", "content": status},
    }
    picture = {
        "200": {"description": "The picture.", "content": {"image/png": {"schema": BINARY}}},
        "404": _error_response("There is no such picture."),
    }
    return {
        "/livez": {"get": _open("The server lives.", {"200": {"description": "It does.", "content": status}})},
        "/readyz": {"get": _open("Whether the server can paint.", ready)},
        PICTURE_PATH: {
            "get": _open("A picture, for whoever has its address.", picture),
            "parameters": [token],
        },
    }


def _open(summary: str, responses: Schema) -> Schema:
    return {"summary": summary, "security": [], "responses": responses}
