"""Strangers' image files: every format and mode as documented, and whatever is wrong with one is a clear refusal."""

import asyncio
import contextlib
import io
import os
import random
import struct
import time
import zlib
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gesso.engine.messages import Pixels
from gesso.errors import BadRequest
from gesso.imaging.decode import Decoder
from gesso.imaging.fit import fitted_size

SCOPE = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoder() -> AsyncIterator[Decoder]:
    decoder = Decoder(processes=1)
    await decoder.start()
    yield decoder
    await decoder.stop()


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def pixel(pixels: Pixels, x: int, y: int) -> tuple[int, ...]:
    start = (y * pixels.width + x) * 3
    return tuple(pixels.rgb[start : start + 3])


def near(got: tuple[int, ...], want: tuple[int, ...], within: int = 3) -> bool:
    return all(abs(one - other) <= within for one, other in zip(got, want, strict=True))


async def refusal(decoder: Decoder, data: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        await decoder.decode(data)
    assert caught.value.problems[0].parameter == "image"
    return caught.value.problems[0].problem


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((700, 1000), (696, 1000)),
        ((512, 512), (512, 512)),
        ((1, 1), (512, 512)),
        ((100, 400), (512, 2048)),
        ((300, 200), (768, 512)),
        ((4000, 3000), (2048, 1536)),
        ((8000, 2000), (2048, 512)),
        ((2048, 513), (2048, 512)),
        ((333, 500), (512, 768)),
    ],
)
def test_the_short_side_becomes_at_least_512_and_the_long_side_at_most_2048(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fitted_size(*size) == fitted


@pytest.mark.parametrize("size", [(401, 100), (100, 401), (2049, 512)])
def test_an_aspect_beyond_four_to_one_is_refused_with_the_size(size: tuple[int, int]) -> None:
    with pytest.raises(BadRequest, match=f"{size[0]}x{size[1]} pixels; one side may be at most 4 times the other"):
        fitted_size(*size)


@given(st.integers(1, 20_000), st.floats(1, 4))
def test_every_admitted_size_ends_within_the_limits_and_keeps_its_aspect(short: int, aspect: float) -> None:
    long = int(short * aspect)
    height, width = fitted_size(short, long)
    assert height % 8 == width % 8 == 0
    assert 512 <= height <= width <= 2048
    assert abs(width / height - long / short) < 0.08


@SCOPE
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
async def test_each_format_is_read(decoder: Decoder, form: str) -> None:
    pixels = await decoder.decode(saved(Image.new("RGB", (700, 1000), (200, 100, 50)), form))
    assert (pixels.width, pixels.height) == (696, 1000)
    assert len(pixels.rgb) == 696 * 1000 * 3
    assert near(pixel(pixels, 300, 300), (200, 100, 50))


@SCOPE
@pytest.mark.parametrize("form", ["ICO", "TGA", "PPM", "PDF", "EPS", "JPEG2000", "AVIF", "PCX"])
async def test_any_other_format_is_refused_by_name_of_those_allowed(decoder: Decoder, form: str) -> None:
    problem = await refusal(decoder, saved(Image.new("RGB", (64, 64)), form))
    assert "PNG, JPEG, WEBP, GIF, BMP, TIFF" in problem


@SCOPE
@pytest.mark.parametrize(
    ("mode", "colour", "form", "seen"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("L", 77, "PNG", (77, 77, 77)),
        ("LA", (77, 255), "PNG", (77, 77, 77)),
        ("LA", (77, 0), "PNG", (255, 255, 255)),
        ("P", 0, "PNG", (0, 0, 0)),
        ("RGBA", (255, 0, 0, 255), "PNG", (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), "PNG", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 128), "WEBP", (255, 127, 127)),
        ("RGBA", (255, 0, 0, 128), "TIFF", (255, 127, 127)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (254, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("YCbCr", (128, 128, 128), "JPEG", (128, 128, 128)),
        ("I;16", 32896, "PNG", (128, 128, 128)),
        ("I;16", 257, "TIFF", (1, 1, 1)),
        ("F", 0.5, "TIFF", (0, 0, 0)),
        ("LAB", (255, 128, 128), "TIFF", (255, 255, 255)),
    ],
)
async def test_each_colour_mode_is_read_on_white(
    decoder: Decoder, mode: str, colour: object, form: str, seen: tuple[int, int, int]
) -> None:
    pixels = await decoder.decode(saved(Image.new(mode, (512, 512), colour), form))
    assert near(pixel(pixels, 200, 200), seen)


@SCOPE
async def test_sixteen_bits_are_scaled_and_not_clipped(decoder: Decoder) -> None:
    ramp = Image.frombytes("I;16", (512, 512), struct.pack("<512H", *range(0, 65536, 128)) * 512)
    pixels = await decoder.decode(saved(ramp, "PNG"))
    assert near(pixel(pixels, 256, 0), (128,) * 3)
    assert near(pixel(pixels, 511, 0), (254,) * 3)


@SCOPE
async def test_floats_are_stretched_between_their_darkest_and_lightest(decoder: Decoder) -> None:
    image = Image.new("F", (512, 512), -1.0)
    image.paste(3.0, (256, 0, 512, 512))
    pixels = await decoder.decode(saved(image, "TIFF"))
    assert pixel(pixels, 0, 0) == (0, 0, 0)
    assert pixel(pixels, 511, 0) == (255, 255, 255)


@SCOPE
async def test_a_transparent_colour_of_a_palette_is_white(decoder: Decoder) -> None:
    image = Image.new("P", (512, 512), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (256, 0, 512, 512))
    pixels = await decoder.decode(saved(image, "PNG", transparency=0))
    assert pixel(pixels, 0, 0) == (255, 255, 255)
    assert pixel(pixels, 511, 0) == (0, 255, 0)


@SCOPE
@pytest.mark.parametrize("orientation", range(1, 9))
async def test_the_exif_orientation_is_applied(decoder: Decoder, orientation: int) -> None:
    upright = Image.new("RGB", (512, 1024), "blue")
    upright.paste((255, 0, 0), (0, 0, 256, 512))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL.Image.Transpose that brings each about
    turned = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = await decoder.decode(saved(turned, "JPEG", exif=exif, quality=95))
    assert (pixels.width, pixels.height) == (512, 1024)
    assert near(pixel(pixels, 20, 20), (255, 0, 0), 8)
    assert near(pixel(pixels, 500, 20), (0, 0, 255), 8)
    assert near(pixel(pixels, 20, 1000), (0, 0, 255), 8)


@SCOPE
async def test_only_the_first_frame_of_an_animation_counts(decoder: Decoder) -> None:
    frames = [Image.new("RGB", (512, 512), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(await decoder.decode(data), 9, 9) == (255, 0, 0)


@SCOPE
async def test_a_gif_of_a_hundred_thousand_frames_is_as_quick_as_one_of_one(decoder: Decoder) -> None:
    first = saved(Image.new("P", (512, 512)), "GIF")
    frame = b"\x21\xf9\x04\0\0\0\0\0" + b"\x2c" + struct.pack("<4H", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    started = time.process_time()
    assert (await decoder.decode(first[:-1] + frame * 100_000 + b"\x3b")).width == 512
    assert time.process_time() - started < 5


def header_only_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@SCOPE
async def test_too_many_pixels_are_refused_before_any_is_decoded(decoder: Decoder) -> None:
    problem = await refusal(decoder, header_only_png(50_000, 50_000))
    assert problem == "is 50000x50000 pixels; at most 67,108,864 pixels are read"


@SCOPE
async def test_a_bomb_that_unpacks_to_a_great_picture_leaves_this_process_as_small_as_it_was(decoder: Decoder) -> None:
    bomb = saved(Image.new("1", (8000, 8000)), "PNG")
    before = psutil.Process().memory_info().rss
    assert (await decoder.decode(bomb)).width == 2048
    assert psutil.Process().memory_info().rss - before < 2048 * 2048 * 3 * 4
    assert len(bomb) < 100_000


@SCOPE
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
async def test_a_truncated_file_is_refused(decoder: Decoder, form: str) -> None:
    noise = Image.frombytes("RGB", (128, 128), random.Random(1).randbytes(128 * 128 * 3))
    whole = saved(noise, form)
    for share in (0.1, 0.5, 0.9):
        assert await refusal(decoder, whole[: int(len(whole) * share)])


@SCOPE
@pytest.mark.parametrize("data", [b"", b"\0", b"hello", b"<svg/>", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
async def test_what_is_no_image_is_refused(decoder: Decoder, data: bytes) -> None:
    assert await refusal(decoder, data)


@SCOPE
async def test_fuzzed_files_are_pictures_or_refused_and_nothing_else(decoder: Decoder) -> None:
    dice = random.Random(2)
    noise = Image.frombytes("RGB", (32, 32), dice.randbytes(32 * 32 * 3))
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        whole = saved(noise, form)
        for _ in range(20):
            spoiled = bytearray(whole)
            for _ in range(dice.randint(1, 8)):
                spoiled[dice.randrange(min(len(spoiled), 200))] = dice.randrange(256)
            with contextlib.suppress(BadRequest):
                assert (await decoder.decode(bytes(spoiled))).width >= 512


@SCOPE
async def test_a_process_that_dies_over_an_image_refuses_it_and_the_next_image_is_read(decoder: Decoder) -> None:
    data = saved(Image.new("RGB", (8000, 8000)), "BMP")
    asking = asyncio.create_task(decoder.decode(data))
    while not (children := psutil.Process(os.getpid()).children()) or children[0].memory_info().rss < 100 * 2**20:
        await asyncio.sleep(0.005)
    children[0].kill()
    with pytest.raises(BadRequest, match="cannot be decoded within"):
        await asking
    assert (await decoder.decode(saved(Image.new("RGB", (512, 512)), "PNG"))).width == 512


@SCOPE
async def test_a_caller_who_leaves_while_an_image_is_decoded_takes_its_process_along(decoder: Decoder) -> None:
    asking = asyncio.create_task(decoder.decode(saved(Image.new("RGB", (8000, 8000)), "BMP")))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await decoder.decode(saved(Image.new("RGB", (512, 512), "red"), "PNG"))).rgb[:3] == b"\xff\0\0"


@SCOPE
async def test_a_decoding_process_is_not_told_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESSO_BOOTSTRAP_KEY", "SG_secretsecretsecret")
    before = set(psutil.Process().children())
    another = Decoder()
    await another.start()
    (child,) = set(psutil.Process().children()) - before
    assert not any(name.startswith("GESSO") for name in child.environ())
    await another.stop()
