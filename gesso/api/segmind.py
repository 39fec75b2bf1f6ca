"""The documented interface: `POST /v1/{slug}`."""

import asyncio

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from gesso.api.auth import caller_of
from gesso.api.deadline import Deadline
from gesso.api.json_body import read_object
from gesso.api.links import Links, links_of
from gesso.api.negotiation import reply_form
from gesso.api.parts import Parts
from gesso.api.presence import while_present
from gesso.api.replies import Reply
from gesso.api.start_image import read_start_image
from gesso.api.trace import request_id_of
from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.validation import ValidRequest, read_request
from gesso.engine.messages import Pixels
from gesso.errors import Cancelled
from gesso.jobs.order import resolve


def routes(parts: Parts) -> APIRouter:
    """The routes under /v1."""
    router = APIRouter()

    @router.post("/v1/{slug}")
    async def paint(slug: str, request: Request) -> Response:
        catalogue = parts.catalogue
        deadline = Deadline.after(parts.settings.request_timeout)
        valid = read_request(catalogue.endpoint(slug), read_object(await _body(request, deadline)))
        return await while_present(request.receive, _painted(request, valid, catalogue, deadline, parts))

    return router


async def _painted(
    request: Request, valid: ValidRequest, catalogue: Catalogue, deadline: Deadline, parts: Parts
) -> Response:
    caller, links = caller_of(request), links_of(request, parts.settings)
    start = await _start_image(valid, links, parts, deadline)
    # In a thread, because a prompt that changes at every step takes a while to understand.
    order = await asyncio.to_thread(
        resolve,
        valid,
        request_id_of(request),
        catalogue,
        models_dir=parts.settings.models,
        account_id=caller.account_id,
        start_image=start,
    )
    delivery = await parts.service.paint(caller, order, deadline.time)
    as_base64 = valid.switch("base64")
    form = reply_form(
        request.headers,
        as_base64=as_base64,
        key=caller.replies,
        server=parts.settings.replies,
        documented=valid.endpoint.returns,
    )
    return await Reply(delivery, valid.ignored, links).render(form, as_base64=as_base64)


async def _body(request: Request, deadline: Deadline) -> bytes:
    try:
        async with deadline.limiting("The body"):
            return await request.body()
    except ClientDisconnect:
        raise Cancelled("The client went away.") from None


async def _start_image(valid: ValidRequest, links: Links, parts: Parts, deadline: Deadline) -> Pixels | None:
    if "image" not in valid.values:
        return None
    async with deadline.limiting("The start image"):
        return await read_start_image(valid.text("image"), links, parts)
