"""PNG files as Gesso keeps them: the pixels, and how they were made in the text chunk `parameters`.

The chunk is the one that AUTOMATIC1111 and its relatives read. The bytes depend on pixels and text alone, so equal
requests give equal files, on any CPU and however many cores share the work; another release of zlib-ng may write others
than this one.

What Paeth's filter leaves of a painted picture is small numbers that hardly ever come twice in the same order. So no
repeats are looked for, which is where deflate's time goes: the numbers are Huffman-coded as they stand, and runs are
made shorter where there are many. Drawings pay for it, and so do pictures of one grey in all three channels: they take
up to twice the bytes of Pillow's default, and a pattern that does repeat takes more.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from zlib_ng import zlib_ng

from gesso.engine.messages import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = "parameters"
INFOTEXT_LIMIT = 2**20
STRIP = 64  # rows that one thread compresses at a time; they and what becomes of them fit a core's cache
ALONE = 512 * 512  # pixels up to which threads cost more than they save
RUNS = 0.4  # above this share of four zeros in a row, runs are worth their codes

_PAETH = 4
_ZLIB_HEADER = b"\x78\x01"
_LAST_BLOCK = b"\x03\x00"

_Bytes = NDArray[np.uint8]


def encode_png(pixels: Pixels, infotext: str) -> bytes:
    """A PNG file of `pixels`; `infotext` goes into `tEXt`, or into `iTXt` where Latin-1 cannot write it."""
    header = struct.pack(">IIBBBBB", pixels.width, pixels.height, 8, 2, 0, 0, 0)  # 8 bits each of RGB, not interlaced
    note = _note(infotext.replace("\0", "\N{REPLACEMENT CHARACTER}")) if infotext else b""
    rows = np.frombuffer(pixels.rgb, np.uint8).reshape(pixels.height, 3 * pixels.width)
    chunks = (_chunk(b"IHDR", header), note, _chunk(b"IDAT", _compressed(rows)), _chunk(b"IEND", b""))
    return b"".join((SIGNATURE, *chunks))


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


def _note(text: str) -> bytes:
    try:
        return _chunk(b"tEXt", KEYWORD.encode() + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return _chunk(b"iTXt", KEYWORD.encode() + b"\0\0\0\0\0" + text.encode())


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib_ng.crc32(body, zlib_ng.crc32(kind))
    return b"".join((struct.pack(">I4s", len(body), kind), body, struct.pack(">I", checksum)))


def _compressed(rows: _Bytes) -> bytes:
    """`rows` ([height, 3 x width]) filtered, as one zlib stream whose strips were deflated side by side."""
    stream, checksum = [_ZLIB_HEADER], 1
    for filtered, deflated in _strips(rows):
        stream.append(deflated)
        checksum = zlib_ng.adler32(filtered, checksum)
    return b"".join([*stream, _LAST_BLOCK, struct.pack(">I", checksum)])


def _strips(rows: _Bytes) -> Iterator[tuple[_Bytes, bytes]]:
    """Each filtered, and deflated."""
    tops = range(0, len(rows), STRIP)
    if rows.size <= 3 * ALONE:
        yield from map(partial(_strip, rows), tops)
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from threads.map(partial(_strip, rows), tops)


def _strip(rows: _Bytes, top: int) -> tuple[_Bytes, bytes]:
    filtered = _filtered(rows, top, min(top + STRIP, len(rows)))
    return filtered, _deflated(filtered)


def _filtered(rows: _Bytes, top: int, bottom: int) -> _Bytes:
    """What Paeth's filter leaves of the rows from `top` to `bottom`, its number before each: [rows, 1 + 3 x width]."""
    framed = np.zeros((bottom - top + 1, rows.shape[1] + 3), np.uint8)  # outside the picture everything is 0
    framed[0 if top else 1 :, 3:] = rows[max(top - 1, 0) : bottom]
    filtered = np.empty((bottom - top, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _PAETH
    np.subtract(framed[1:, 3:], _predicted(framed[1:, :-3], framed[:-1, 3:], framed[:-1, :-3]), out=filtered[:, 1:])
    return filtered


def _predicted(left: _Bytes, above: _Bytes, corner: _Bytes) -> _Bytes:
    """Paeth's prediction: whichever of the three is nearest to `left + above - corner`.

    PNG specification, 9.4, but without leaving eight bits. That sum lies as far below the larger of `left` and `above`
    as the corner lies above the smaller: `rise`. So it is nearest to the larger where twice the rise is at most the
    fall from there to the corner, to the smaller where it is the other way round, and to the corner in between.
    """
    low, high = np.minimum(left, above), np.maximum(left, above)
    nearest = np.maximum(np.minimum(corner, high), low)  # np.clip takes as long as all the rest
    rise, fall = nearest - low, high - nearest
    to_high, to_low = rise <= fall >> 1, fall <= rise >> 1
    fall *= to_high
    rise *= to_low
    nearest += fall
    nearest -= rise
    return nearest


def _deflated(filtered: _Bytes) -> bytes:
    """Blocks that end on a whole byte, none of them the stream's last."""
    fours = filtered.reshape(-1)[: filtered.size & ~3].view(np.uint32)
    many_runs = np.count_nonzero(fours) < (1 - RUNS) * fours.size
    strategy = zlib_ng.Z_RLE if many_runs else zlib_ng.Z_HUFFMAN_ONLY
    deflate = zlib_ng.compressobj(wbits=-zlib_ng.MAX_WBITS, memLevel=9, strategy=strategy)
    return deflate.compress(filtered) + deflate.flush(zlib_ng.Z_SYNC_FLUSH)


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
