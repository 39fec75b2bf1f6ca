"""What the bytes of a stranger's image file mean, as upright RGB on white at the size it is painted at.

Runs inside the decoding process (`gesso.imaging.decode_process`): whatever a file does to Pillow, it does it there.
"""

import io
from typing import cast

from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from gesso.imaging.fit import fitted_size
from gesso.imaging.refusal import refused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
PIXEL_LIMIT = 64 * 2**20

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_raster(data: bytes) -> Image.Image:
    """The first frame of an image file, mode RGB.

    Raises:
        BadRequest: not one of the formats, too many pixels, or too long a shape; known before anything is decoded.
        Exception: whatever Pillow says of a file that is broken further in.
    """
    with _opened(data) as image:
        _check_pixels(image)
        fitted_size(*image.size)
        upright = _upright(image, _orientation(image))
        rgb = _on_white(_eight_bits(upright))
        return rgb if rgb.size == (size := fitted_size(*rgb.size)) else rgb.resize(size, Image.Resampling.LANCZOS)


def _opened(data: bytes) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # ours is checked instead, with our sentence
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise refused(f"is not an image in one of the formats {', '.join(FORMATS)}") from None


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > PIXEL_LIMIT:
        raise refused(f"is {image.width}x{image.height} pixels; at most {PIXEL_LIMIT:,} pixels are read")


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Modes deeper than eight bits, which Pillow would clip instead of scale, and LAB, which it would not convert."""
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda level: level * (1 / 257)).convert("L")
    if image.mode in ("I", "F"):
        return _stretched(image.convert("F"))
    if image.mode == "LAB":
        return _from_lab(image)
    return image


def _stretched(image: Image.Image) -> Image.Image:
    """Integers and floats of 32 bits have no agreed white, so darkest and lightest become black and white."""
    low, high = cast(tuple[float, float], image.getextrema())
    scale = 255 / (high - low) if high > low else 0.0
    return image.point(lambda level: level * scale + -low * scale).convert("L")


def _from_lab(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None, "only an in-place conversion returns nothing"
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    picture = image.convert("RGBA")
    ground = Image.new("RGB", picture.size, "white")
    ground.paste(picture, mask=picture)
    return ground
