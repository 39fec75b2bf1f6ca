"""The documented interface: `POST /v1/{slug}`."""

import asyncio

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from gesso.api.auth import caller_of
from gesso.api.json_body import read_object
from gesso.api.links import Links, links_of
from gesso.api.negotiation import reply_form
from gesso.api.parts import Parts
from gesso.api.presence import while_present
from gesso.api.replies import Reply
from gesso.api.start_image import read_start_image
from gesso.api.trace import request_id_of
from gesso.catalogue.validation import ValidRequest, read_request
from gesso.engine.messages import Pixels
from gesso.errors import Cancelled, DeadlineExceeded
from gesso.jobs.order import resolve


def routes(parts: Parts) -> APIRouter:
    """The routes under /v1."""
    router = APIRouter()

    @router.post("/v1/{slug}")
    async def paint(slug: str, request: Request) -> Response:
        endpoint = parts.catalogue.endpoint(slug)
        valid = read_request(endpoint, read_object(await _body(request)))
        return await while_present(request.receive, _painted(request, valid, parts))

    return router


async def _painted(request: Request, valid: ValidRequest, parts: Parts) -> Response:
    caller, links = caller_of(request), links_of(request, parts.settings)
    deadline = asyncio.get_running_loop().time() + parts.settings.request_timeout
    start = await _start_image(valid, links, parts, deadline)
    order = resolve(valid, request_id_of(request), parts.catalogue, models_dir=parts.settings.models, start_image=start)
    delivery = await parts.service.paint(caller, order, deadline)
    as_base64 = valid.switch("base64")
    form = reply_form(
        request.headers,
        as_base64=as_base64,
        key=caller.replies,
        server=parts.settings.replies,
        documented=valid.endpoint.returns,
    )
    return await Reply(delivery, valid.ignored, links).render(form, as_base64=as_base64)


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise Cancelled("The client went away.") from None


async def _start_image(valid: ValidRequest, links: Links, parts: Parts, deadline: float) -> Pixels | None:
    if "image" not in valid.values:
        return None
    try:
        async with asyncio.timeout_at(deadline):
            return await read_start_image(valid.text("image"), links, parts)
    except TimeoutError:
        raise DeadlineExceeded("The start image took longer than the server allows for a request.") from None
