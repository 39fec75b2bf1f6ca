"""Stored pictures by their address: open to whoever has it, and the same for ever."""

from fastapi import APIRouter, Request, Response

from gesso.api.links import PICTURE_PATH
from gesso.api.parts import Parts

NOT_MODIFIED = 304
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


def routes(parts: Parts) -> APIRouter:
    """The one route to pictures."""

    async def picture(request: Request) -> Response:
        token = request.path_params["token"]
        data = await parts.pictures.read(token)
        headers = _HEADERS | {"ETag": f'"{token}"'}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=NOT_MODIFIED, headers=headers)
        return Response(data, media_type="image/png", headers=headers)

    router = APIRouter()
    router.add_route(PICTURE_PATH, picture)
    return router
