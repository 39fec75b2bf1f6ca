"""PNG files as Gesso keeps them: the pixels, and how they were made in the text chunk `parameters`.

The chunk is the one that AUTOMATIC1111 and its relatives read. The bytes depend on pixels and text alone, so equal
requests give equal files.
"""

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gesso.engine.messages import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = "parameters"
COMPRESSION = 3
INFOTEXT_LIMIT = 2**20


def encode_png(pixels: Pixels, infotext: str) -> bytes:
    """A PNG file of `pixels`; `infotext` goes into `tEXt`, or into `iTXt` where Latin-1 cannot write it."""
    notes = PngInfo()
    if infotext:
        _note(notes, infotext.replace("\0", "\N{REPLACEMENT CHARACTER}"))
    target = io.BytesIO()
    Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb).save(
        target, "PNG", pnginfo=notes, compress_level=COMPRESSION
    )
    return target.getvalue()


def decode_png(data: bytes) -> Pixels:
    """The pixels of a file that `encode_png` wrote. Strangers' files go through `gesso.imaging.decode`."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return Pixels(image.width, image.height, image.convert("RGB").tobytes())


def read_infotext(data: bytes) -> str | None:
    """The text under `parameters`, wherever in the PNG it stands; None where there is none or `data` is no PNG.

    Reads chunk headers only, never pixels, and believes nothing: safe on untrusted bytes.
    """
    readers = {b"tEXt": _plain_text, b"zTXt": _compressed_text, b"iTXt": _international_text}
    for kind, body in _chunks(data):
        keyword, separator, rest = body.partition(b"\0")
        if kind in readers and separator and keyword == KEYWORD.encode():
            return readers[kind](rest)
    return None


def _note(notes: PngInfo, text: str) -> None:
    try:
        notes.add_text(KEYWORD, text.encode("latin-1"))
    except UnicodeEncodeError:
        notes.add_itxt(KEYWORD, text)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE) if data.startswith(SIGNATURE) else len(data)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 12 + length


def _plain_text(rest: bytes) -> str:
    return rest.decode("latin-1")


def _compressed_text(rest: bytes) -> str:
    return _inflate(rest[1:]).decode("latin-1")


def _international_text(rest: bytes) -> str:
    text = rest[2:].split(b"\0", 2)[-1]  # behind the language and the translated keyword
    return (_inflate(text) if rest[:1] == b"\1" else text).decode("utf-8", "replace")


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, INFOTEXT_LIMIT)
    except zlib.error:
        return b""
