"""The image formats that a reply can carry: their media types, and how pixels are written in each."""

import io
from typing import Literal, get_args

from PIL import ExifTags, Image

from gesso.engine.messages import Pixels
from gesso.imaging.png import encode_png

Format = Literal["jpeg", "png", "webp"]
FORMATS: tuple[Format, ...] = get_args(Format)
QUALITY = 95


def media_type(form: Format) -> str:
    """What `Content-Type` calls it."""
    return f"image/{form}"


def encode(pixels: Pixels, form: Format, infotext: str) -> bytes:
    """A file of `pixels`; JPEG and WebP carry `infotext` in the Exif user comment, where AUTOMATIC1111 looks for it."""
    if form == "png":
        return encode_png(pixels, infotext)
    target = io.BytesIO()
    image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb)
    image.save(target, form.upper(), quality=QUALITY, exif=_exif(infotext), **_FINEST_COLOUR[form])
    return target.getvalue()


_FINEST_COLOUR: dict[Format, dict[str, int]] = {"jpeg": {"subsampling": 0}, "webp": {"method": 2}}

EXIF_SEGMENT = 60_000


def _exif(infotext: str) -> Image.Exif:
    """A JPEG segment holds 65,533 bytes, so a text beyond that is left out rather than cut."""
    exif = Image.Exif()
    comment = b"UNICODE\0" + infotext.encode("utf-16-be", "replace")
    if infotext and len(comment) <= EXIF_SEGMENT:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return exif
