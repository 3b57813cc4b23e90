"""Decoding: the pictures that surprise a decoder. Each is made here, by the letter of its format."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmarks import odd_pictures
from twelve.errors import TooLarge, UnreadableImage
from twelve.image import ImageLimits, decode

LIMITS = ImageLimits()
JPEG_NOISE = 12
"""A flat colour comes back from JPEG within a few steps; a wrong conversion is off by far more."""

LAB_NOISE = 2
ORIENTATION = 0x0112
RED, INK = (255, 0, 0), (0, 255, 255, 0)
"""One colour: on a screen, and as cyan, magenta, yellow, black."""

ADOBE = b"Adobe"
APP14, START = 0xEE, b"\xff\xd8"
TEXT_BOMB = 1 << 26


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def off_by(data: bytes, color: tuple[int, ...]) -> int:
    return int(np.abs(decode(data, limits=LIMITS).rgb.astype(int) - np.array(color)).max())


def stored_samples(data: bytes) -> tuple[int, ...]:
    """Give the first pixel as the file has it, before anybody inverts it."""
    image = Image.open(io.BytesIO(data))
    name, extents, offset, (_, jpeg_mode) = image.tile[0]
    image.tile = [(name, extents, offset, ("CMYK", jpeg_mode))]
    return image.getpixel((0, 0))


def without_adobes_mark(data: bytes) -> bytes:
    at = data.index(bytes([0xFF, APP14]))
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[:at] + data[at + 2 + length :]


def png(width: int, height: int, depth: int, color: int, rows: bytes, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    ending = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + ending


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("is_marked", [True, False])
def test_inverted_cmyk_is_red_with_adobes_mark_and_without(is_marked: bool) -> None:
    marked = saved(Image.new("CMYK", (12, 8), INK), "JPEG", quality=95)
    data = marked if is_marked else without_adobes_mark(marked)
    assert (ADOBE in data) == is_marked
    assert np.abs(np.array(stored_samples(data)) - (255 - np.array(INK))).max() <= JPEG_NOISE
    assert off_by(data, RED) <= JPEG_NOISE


def test_cmyk_in_tiff_is_not_inverted() -> None:
    assert off_by(saved(Image.new("CMYK", (12, 8), INK), "TIFF"), RED) == 0


@pytest.mark.parametrize(("color", "samples"), [(2, 3), (6, 4)])
def test_sixteen_bit_colour_keeps_its_high_byte(color: int, samples: int) -> None:
    pixel = struct.pack(">4H", 0x12FF, 0x8000, 0xFE01, 0xFFFF)[: 2 * samples]
    assert off_by(png(3, 2, 16, color, (b"\0" + pixel * 3) * 2), (0x12, 0x80, 0xFE)) == 0


def test_sixteen_bit_colour_with_alpha_is_composed_on_white() -> None:
    pixel = struct.pack(">4H", 0, 0, 0, 0)
    assert off_by(png(3, 2, 16, 6, (b"\0" + pixel * 3) * 2), (255, 255, 255)) == 0


def test_sixteen_bit_grey_of_the_other_byte_order_keeps_its_high_byte() -> None:
    deep = Image.fromarray(np.full((8, 12), 0x4D80, ">u2"))
    assert off_by(saved(deep, "TIFF"), (0x4D, 0x4D, 0x4D)) == 0


def test_lab_is_converted() -> None:
    grey = Image.new("LAB", (12, 8), (128, 128, 128))
    shown = decode(saved(grey, "TIFF"), limits=LIMITS).rgb[0, 0].astype(int)
    assert np.ptp(shown) <= LAB_NOISE
    assert 100 < shown[0] < 140


def test_two_pictures_in_one_jpeg_show_the_first() -> None:
    first, second = Image.new("RGB", (12, 8), (200, 30, 40)), Image.new("RGB", (12, 8), (0, 0, 255))
    data = saved(first, "MPO", save_all=True, append_images=[second])
    assert off_by(data, (200, 30, 40)) <= JPEG_NOISE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_is_heeded_unless_it_is_asked_not_to_be(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = saved(Image.new("RGB", (12, 8), (200, 30, 40)), kind, exif=exif.tobytes())
    assert decode(data, limits=LIMITS).rgb.shape == (12, 8, 3)
    assert decode(data, limits=LIMITS, exif=False).rgb.shape == (8, 12, 3)


def test_a_picture_of_the_largest_size_is_decoded_and_of_one_more_refused() -> None:
    limits = ImageLimits(max_pixels=96, max_side=12)
    assert decode(saved(Image.new("L", (12, 8)), "PNG"), limits=limits).rgb.shape == (8, 12, 3)
    for size in ((13, 1), (11, 9)):
        with pytest.raises(TooLarge, match=f"got {size[0]}x{size[1]} pixels, send at most 96 pixels and 12 a side"):
            decode(saved(Image.new("L", size), "PNG"), limits=limits)


def test_a_progressive_jpeg_that_ends_early_is_refused() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, "JPEG", progressive=True)
    for share in (4, 2):
        with pytest.raises(UnreadableImage, match="send a whole, unbroken file"):
            decode(data[: len(data) - len(data) // share], limits=LIMITS)


def test_a_bomb_in_a_pictures_text_is_refused() -> None:
    text = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(TEXT_BOMB)))
    data = png(1, 1, 8, 2, b"\0\1\2\3", text)
    assert len(data) < TEXT_BOMB // 500
    with pytest.raises(UnreadableImage, match="cannot be decoded"):
        decode(data, limits=LIMITS)


def test_a_gif_whose_frame_leaves_its_screen_is_measured_whole() -> None:
    data = bytearray(saved(Image.new("P", (12, 8)), "GIF"))
    data[6:10] = struct.pack("<HH", 2, 2)  # the screen's width and height
    with pytest.raises(TooLarge):
        decode(bytes(data), limits=ImageLimits(max_side=11))


@pytest.mark.parametrize("name", odd_pictures.ODD)
def test_every_odd_picture_is_a_picture(name: str) -> None:
    assert decode(odd_pictures.ODD[name](0), limits=LIMITS).rgb.ndim == 3


@pytest.mark.parametrize("name", odd_pictures.BAD)
def test_every_bad_picture_is_refused(name: str) -> None:
    with pytest.raises((UnreadableImage, TooLarge)):
        decode(odd_pictures.BAD[name](0), limits=LIMITS)
