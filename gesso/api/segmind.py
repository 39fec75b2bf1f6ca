"""The documented interface: `POST /v1/{slug}`, and with `?dry_run=true` what it would cost."""

import asyncio

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from gesso.api.auth import caller_of
from gesso.api.deadline import Deadline
from gesso.api.idempotency import retry_of
from gesso.api.json_body import read_object
from gesso.api.links import Links, links_of
from gesso.api.negotiation import reply_form
from gesso.api.parts import Parts
from gesso.api.presence import while_present
from gesso.api.quotes import Quote, asks_for_quote
from gesso.api.replies import Reply
from gesso.api.start_image import read_start_image
from gesso.api.trace import request_id_of
from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.validation import ValidRequest, read_request
from gesso.engine.messages import Pixels
from gesso.errors import Cancelled
from gesso.jobs.order import Order, resolve
from gesso.jobs.retries import Retry


def routes(parts: Parts) -> APIRouter:
    """The routes under /v1."""
    router = APIRouter()

    @router.post("/v1/{slug}")
    async def paint(slug: str, request: Request) -> Response:
        catalogue = parts.catalogue
        deadline = Deadline.after(parts.settings.request_timeout)
        endpoint = catalogue.endpoint(slug)
        caller_of(request).require(slug)
        dry_run = asks_for_quote(request.query_params)
        body = read_object(await _body(request, deadline))
        retry = retry_of(request.headers, request.url.path, body)
        valid = read_request(endpoint, body)
        if dry_run:
            return await while_present(request.receive, _quoted(request, valid, catalogue, deadline, parts))
        return await while_present(request.receive, _painted(request, valid, catalogue, deadline, retry, parts))

    return router


async def _painted(
    request: Request,
    valid: ValidRequest,
    catalogue: Catalogue,
    deadline: Deadline,
    retry: Retry | None,
    parts: Parts,
) -> Response:
    service, caller = parts.service, caller_of(request)
    delivery = await service.delivered_before(caller, retry, deadline.time) if retry else None
    if delivery is None:
        order = await _order(request, valid, catalogue, deadline, parts)
        delivery = await service.paint(caller, order, deadline.time, retry)
    as_base64 = valid.switch("base64")
    form = reply_form(
        request.headers,
        as_base64=as_base64,
        key=caller.scope.replies,
        server=parts.settings.replies,
        documented=valid.endpoint.returns,
    )
    links = links_of(request, parts.settings)
    return await Reply(delivery, valid.ignored, links).render(form, as_base64=as_base64)


async def _quoted(
    request: Request, valid: ValidRequest, catalogue: Catalogue, deadline: Deadline, parts: Parts
) -> Response:
    """Always JSON, as there is no picture that could be the reply."""
    caller = caller_of(request)
    order = await _order(request, valid, catalogue, deadline, parts)
    remaining = await parts.service.balance(caller)
    affordable = caller.unlimited or order.cost_micro <= remaining
    return Quote(order, remaining, affordable, valid.ignored).render()


async def _order(
    request: Request, valid: ValidRequest, catalogue: Catalogue, deadline: Deadline, parts: Parts
) -> Order:
    caller = caller_of(request)
    start = await _start_image(valid, links_of(request, parts.settings), parts, deadline)
    # In a thread, because a prompt that changes at every step takes a while to understand.
    return await asyncio.to_thread(
        resolve,
        valid,
        request_id_of(request),
        catalogue,
        models_dir=parts.settings.models,
        account_id=caller.account_id,
        share=caller.allowance.share,
        start_image=start,
    )


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
