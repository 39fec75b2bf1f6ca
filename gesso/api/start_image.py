"""The picture that an image-to-image request starts from."""

from dataclasses import replace

from gesso.api.links import Links
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
        token = links.token(value)
        data = await _stored(token, parts) if token else await read_source(value, parts.fetcher)
        return await parts.decoder.decode(data)
    except BadRequest as error:
        raise BadRequest.of([replace(problem, value=shown(value)) for problem in error.problems]) from None


async def _stored(token: str, parts: Parts) -> bytes:
    try:
        return await parts.pictures.read(token)
    except NotFound:
        raise refused("is the address of a picture that is not here, or no longer") from None
