"""The picture that an image-to-image request starts from."""

from dataclasses import replace

from gesso.api.links import Links, token_in
from gesso.api.parts import Parts
from gesso.catalogue.values import shown
from gesso.engine.messages import Pixels
from gesso.errors import BadRequest, NotFound
from gesso.imaging.refusal import refused
from gesso.imaging.source import read_source


async def read_start_image(value: str, links: Links, parts: Parts) -> Pixels:
    """What `image` stands for, at the size that it is painted at. Our own pictures are read, not fetched.

    Raises:
        BadRequest: it cannot be had or is no picture, and why.
    """
    try:
        return await parts.decoder.decode(await _bytes(value, links, parts))
    except BadRequest as error:
        raise BadRequest.of([replace(problem, value=shown(value)) for problem in error.problems]) from None


async def _bytes(value: str, links: Links, parts: Parts) -> bytes:
    """A picture is known by its token: under whatever name the server was asked for it, it is read from storage."""
    if token := token_in(value):
        try:
            return await parts.pictures.read(token)
        except NotFound:
            if links.is_ours(value):
                raise refused("is the address of a picture that is not here, or no longer") from None
    return await read_source(value, parts.fetcher)
