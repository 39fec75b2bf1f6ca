"""PNG files: deterministic, lossless, with the parameters where other programs look for them."""

import io
import os
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from gesso.engine.messages import Pixels
from gesso.imaging.formats import FORMATS, encode, media_type
from gesso.imaging.png import SIGNATURE, decode_png, encode_png, read_infotext
from gesso.imaging.sheet import contact_sheet

NOISE = Pixels(24, 16, random.Random(7).randbytes(24 * 16 * 3))
INFOTEXT = "a panda\nNegative prompt: ugly\nSteps: 25, Seed: 468685"


def plain(width: int, height: int, colour: tuple[int, int, int]) -> Pixels:
    return Pixels(width, height, bytes(colour) * (width * height))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def drawn(kind: str, width: int, height: int, seed: int) -> Pixels:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width, :1][:2]
    start, down, right = random.integers(-9, 10, (3, 3))
    picture = {
        "random": random.integers(0, 256, (height, width, 3)),
        "flat": np.broadcast_to(start, (height, width, 3)),
        "gradient": start + rows * down + columns * right,
        "black and white": 255 * random.integers(0, 2, (height, width, 3)),
    }[kind]
    return Pixels(width, height, (picture % 256).astype(np.uint8).tobytes())


def photograph(width: int, height: int) -> Pixels:
    """Noise on every scale, the finest of it grain: nothing in it comes twice, as in what SDXL paints."""
    random = np.random.default_rng(0)
    picture = np.full((height, width, 3), 128.0)
    for scale, strength in {64: 60, 16: 30, 4: 10, 1.5: 4, 0.6: 2}.items():
        light = gaussian_filter(random.standard_normal((height, width, 1)), scale, axes=(0, 1))
        colours = gaussian_filter(random.standard_normal((height, width, 3)), scale, axes=(0, 1))
        picture += strength * (0.85 * light / light.std() + 0.3 * colours / colours.std())
    return Pixels(width, height, picture.round().clip(0, 255).astype(np.uint8).tobytes())


def by_pillow(pixels: Pixels) -> bytes:
    target = io.BytesIO()
    Image.frombytes("RGB", (pixels.width, pixels.height), pixels.rgb).save(target, "PNG")
    return target.getvalue()


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Those of a PNG file, each of which must be whole and have the right checksum."""
    position = len(SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        assert data[position : position + 12 + length] == chunk(kind, body)
        yield kind, body
        position += 12 + length


def test_equal_pixels_and_text_give_equal_bytes_and_other_text_gives_other_bytes() -> None:
    assert encode_png(NOISE, INFOTEXT) == encode_png(NOISE, INFOTEXT)
    assert encode_png(NOISE, INFOTEXT) != encode_png(NOISE, INFOTEXT + "!")


def test_pixels_survive_unchanged() -> None:
    assert decode_png(encode_png(NOISE, INFOTEXT)) == NOISE


@given(
    st.builds(
        drawn,
        st.sampled_from(["random", "flat", "gradient", "black and white"]),
        st.integers(1, 70),
        st.integers(1, 140),
        st.integers(0, 2**32),
    )
)
def test_any_picture_comes_back_pixel_for_pixel_and_has_the_same_bytes_every_time(pixels: Pixels) -> None:
    data = encode_png(pixels, INFOTEXT)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.mode, image.size, image.tobytes()) == ("RGB", (pixels.width, pixels.height), pixels.rgb)
    assert encode_png(pixels, INFOTEXT) == data


def test_the_number_of_cores_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    written = set()
    for cores in (1, 2, 16, None):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        written.add(encode_png(photograph(96, 300), INFOTEXT))
    assert len(written) == 1


@pytest.mark.parametrize("height", [1, 63, 64, 65, 300])
def test_chunks_and_checksums_are_what_the_strictest_reader_asks_for(height: int) -> None:
    (first, header), (second, _), (third, body), last = chunks(encode_png(photograph(96, height), INFOTEXT))
    assert (first, second, third, last) == (b"IHDR", b"tEXt", b"IDAT", (b"IEND", b""))
    assert header == struct.pack(">II5B", 96, height, 8, 2, 0, 0, 0)
    inflate = zlib.decompressobj()
    assert len(inflate.decompress(body)) == height * (1 + 3 * 96)
    assert inflate.eof
    assert inflate.unused_data == b""


def test_a_photograph_is_no_larger_than_pillow_makes_it() -> None:
    assert len(encode_png(photograph(448, 576), "")) < len(by_pillow(photograph(448, 576)))


def test_a_flat_picture_takes_hardly_any_room() -> None:
    flat = plain(896, 1152, (200, 30, 90))
    assert len(encode_png(flat, "")) < 1.15 * len(by_pillow(flat))


def test_pixels_that_are_not_as_many_as_the_size_says_are_refused() -> None:
    with pytest.raises(ValueError, match="array of size 100"):
        encode_png(Pixels(24, 16, b"\0" * 100), INFOTEXT)


@pytest.mark.parametrize("text", [INFOTEXT, "café", "Fuji 富士"])
def test_other_programs_find_the_parameters_as_text(text: str) -> None:
    with Image.open(io.BytesIO(encode_png(NOISE, text))) as image:
        assert image.text["parameters"] == text


@pytest.mark.parametrize(("text", "kind"), [("café", b"tEXt"), ("Fuji 富士", b"iTXt")])
def test_text_goes_into_itxt_only_where_latin_1_cannot_write_it(text: str, kind: bytes) -> None:
    data = encode_png(NOISE, text)
    assert kind + b"parameters\0" in data
    assert read_infotext(data) == text


def test_a_picture_without_parameters_has_no_infotext() -> None:
    assert read_infotext(encode_png(NOISE, "")) is None


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200))
def test_any_text_is_read_back(text: str) -> None:
    assert read_infotext(encode_png(NOISE, text)) == text


@pytest.mark.parametrize(
    "written",
    [
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"hello")),
        chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(b"hello")),
        chunk(b"iTXt", b"parameters\0\0\0de\0Angaben\0hello"),
    ],
)
def test_every_form_of_text_chunk_is_read(written: bytes) -> None:
    assert read_infotext(SIGNATURE + chunk(b"tEXt", b"Software\0x") + written) == "hello"


def test_a_compressed_text_of_a_gigabyte_is_cut_short() -> None:
    deflate = zlib.compressobj()
    bomb = b"".join(deflate.compress(bytes(2**20)) for _ in range(64)) + deflate.flush()
    text = read_infotext(SIGNATURE + chunk(b"zTXt", b"parameters\0\0" + bomb))
    assert text is not None
    assert len(text) == 2**20


@given(st.binary(max_size=300))
def test_reading_the_infotext_of_anything_at_all_does_not_fail(data: bytes) -> None:
    assert read_infotext(data) is None
    read_infotext(SIGNATURE + data)
    read_infotext(SIGNATURE + chunk(b"iTXt", b"parameters\0" + data))
    read_infotext(SIGNATURE + chunk(b"zTXt", b"parameters\0" + data))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_what_its_media_type_says_and_the_size_asked_for(form: str) -> None:
    with Image.open(io.BytesIO(encode(NOISE, form, INFOTEXT))) as image:
        assert Image.MIME[image.format] == media_type(form)
        assert image.size == (24, 16)


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_jpeg_and_webp_carry_the_parameters_in_the_exif_user_comment(form: str) -> None:
    with Image.open(io.BytesIO(encode(NOISE, form, "Fuji 富士"))) as image:
        assert image.getexif().get_ifd(0x8769)[0x9286] == b"UNICODE\0" + "Fuji 富士".encode("utf-16-be")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_a_text_too_long_for_exif_is_left_out(form: str) -> None:
    with Image.open(io.BytesIO(encode(NOISE, form, "x" * 40_000))) as image:
        assert not image.getexif().get_ifd(0x8769)


def test_a_jpeg_is_close_to_the_pixels() -> None:
    with Image.open(io.BytesIO(encode(plain(64, 64, (200, 30, 90)), "jpeg", ""))) as image:
        assert all(abs(got - want) <= 2 for got, want in zip(image.getpixel((5, 5)), (200, 30, 90), strict=True))


def test_a_contact_sheet_of_one_picture_is_that_picture() -> None:
    assert contact_sheet([NOISE]) == NOISE


def test_a_contact_sheet_shows_the_pictures_in_reading_order_with_white_left_over() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sheet = contact_sheet([plain(8, 16, colour) for colour in colours])
    image = Image.frombytes("RGB", (sheet.width, sheet.height), sheet.rgb)
    assert image.size == (16, 32)
    assert [image.getpixel(at) for at in ((0, 0), (8, 0), (0, 16), (8, 16))] == [*colours, (255, 255, 255)]


def test_two_pictures_lie_side_by_side() -> None:
    sheet = contact_sheet([NOISE, NOISE])
    assert (sheet.width, sheet.height) == (48, 16)
