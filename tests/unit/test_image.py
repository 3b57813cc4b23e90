"""Decoding: what people send as pictures, and what they send instead of them."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twelve.errors import TooLarge, UnreadableImage
from twelve.image import ImageLimits, Picture, decode, digest, read

LIMITS = ImageLimits()
JPEG_NOISE = 12
"""A flat colour comes back from JPEG within a few steps; a wrong conversion is off by far more."""


def file_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flat(color: tuple[int, ...] | int, mode: str = "RGB", size: tuple[int, int] = (12, 8)) -> Image.Image:
    return Image.new(mode, size, color)


def assert_flat(picture: Picture, color: tuple[int, int, int], tolerance: int = 0) -> None:
    assert picture.rgb.shape == (8, 12, 3)
    assert picture.rgb.dtype == np.uint8
    assert np.abs(picture.rgb.astype(int) - np.array(color)).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_give_their_exact_colour(kind: str) -> None:
    assert_flat(decode(file_bytes(flat((200, 30, 40)), kind), limits=LIMITS), (200, 30, 40))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_give_nearly_their_colour(kind: str) -> None:
    assert_flat(decode(file_bytes(flat((200, 30, 40)), kind), limits=LIMITS), (200, 30, 40), JPEG_NOISE)


def test_grey_spreads_over_the_three_channels() -> None:
    assert_flat(decode(file_bytes(flat(77, "L"), "PNG"), limits=LIMITS), (77, 77, 77))


def test_one_bit_becomes_black_and_white() -> None:
    assert_flat(decode(file_bytes(flat(1, "1"), "PNG"), limits=LIMITS), (255, 255, 255))


def test_a_palette_is_looked_up() -> None:
    palette = flat((10, 200, 30)).quantize(4)
    assert_flat(decode(file_bytes(palette, "PNG"), limits=LIMITS), (10, 200, 30))


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    deep = Image.fromarray(np.full((8, 12), 0x4D80, np.uint16))
    assert_flat(decode(file_bytes(deep, "PNG"), limits=LIMITS), (0x4D, 0x4D, 0x4D))
    assert_flat(decode(file_bytes(deep, "TIFF"), limits=LIMITS), (0x4D, 0x4D, 0x4D))


def test_sixteen_bit_grey_with_a_transparent_value_stays_grey() -> None:
    deep = Image.fromarray(np.full((8, 12), 0x4D80, np.uint16))
    assert_flat(decode(file_bytes(deep, "PNG", transparency=7), limits=LIMITS), (0x4D, 0x4D, 0x4D))


def test_floats_are_taken_as_zero_to_one() -> None:
    fraction = Image.fromarray(np.full((8, 12), 0.5, np.float32))
    assert_flat(decode(file_bytes(fraction, "TIFF"), limits=LIMITS), (127, 127, 127))


def test_cmyk_is_converted() -> None:
    ink = flat((0, 255, 255, 0), "CMYK")
    assert_flat(decode(file_bytes(ink, "JPEG"), limits=LIMITS), (255, 0, 0), JPEG_NOISE)


def test_alpha_is_composed_on_white() -> None:
    assert_flat(decode(file_bytes(flat((0, 0, 0, 0), "RGBA"), "PNG"), limits=LIMITS), (255, 255, 255))
    assert_flat(decode(file_bytes(flat((0, 128), "LA"), "PNG"), limits=LIMITS), (127, 127, 127), 1)


def test_a_transparent_palette_entry_is_white() -> None:
    palette = flat((10, 200, 30)).quantize(4)
    index = palette.getpixel((0, 0))
    assert_flat(decode(file_bytes(palette, "PNG", transparency=index), limits=LIMITS), (255, 255, 255))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animated_picture_shows_its_first_frame(kind: str) -> None:
    frames = file_bytes(
        flat((200, 30, 40)), kind, save_all=True, append_images=[flat((0, 0, 255))], **{"lossless": True}
    )
    assert_flat(decode(frames, limits=LIMITS), (200, 30, 40))


def exif_bytes(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright_once(orientation: int, kind: str) -> None:
    upright = np.zeros((8, 12, 3), np.uint8)
    upright[0, 0] = 255
    undone = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(undone[orientation]))
    data = file_bytes(stored, kind, exif=exif_bytes(orientation), lossless=True)
    assert np.array_equal(decode(data, limits=LIMITS).rgb, upright)


def test_broken_exif_is_no_reason_to_refuse_a_picture() -> None:
    data = file_bytes(flat((200, 30, 40)), "JPEG", exif=b"Exif\0\0MM\0*garbage that is no directory")
    assert_flat(decode(data, limits=LIMITS), (200, 30, 40), JPEG_NOISE)


def test_a_one_pixel_picture_is_a_picture() -> None:
    assert decode(file_bytes(flat(9, "L", (1, 1)), "PNG"), limits=LIMITS).rgb.shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the picture is empty: got 0 bytes"),
        (b"Dear model, what is in this picture?", "the bytes are no picture: got 36 bytes"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "send one of JPEG, PNG, WEBP, GIF, BMP, TIFF"),
        (b"\xff\xd8\xff", "the bytes are no picture"),
        (b"\x89PNG\r\n\x1a\n", "send"),
        (b"\0" * 1000, "the bytes are no picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableImage, match=sentence) as refusal:
        decode(data, limits=LIMITS, at="images[1]")
    assert refusal.value.at == "images[1]"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = file_bytes(noise, kind)
    with pytest.raises(UnreadableImage):
        decode(data[: len(data) // 2], limits=LIMITS)


def test_a_format_outside_the_list_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="no picture"):
        decode(file_bytes(flat((1, 2, 3)), "ICO"), limits=LIMITS)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(TooLarge, match="the picture is too large"):
        decode(png_header(side, side), limits=LIMITS)


def test_a_long_strip_is_refused_by_its_side() -> None:
    with pytest.raises(TooLarge, match="got 20000x1 pixels, send at most 50000000 pixels and 16384 a side"):
        decode(png_header(20_000, 1), limits=LIMITS)


def test_too_many_bytes_are_refused_unread(tmp_path: Path) -> None:
    limits = ImageLimits(max_bytes=100)
    path = tmp_path / "long.png"
    path.write_bytes(b"x" * 101)
    with pytest.raises(TooLarge, match="got 101 bytes, send at most 100"):
        read(path, limits=limits)


def test_a_picture_below_the_smallest_side_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="got 12x8 pixels, send at least 10 a side"):
        decode(file_bytes(flat((1, 2, 3)), "PNG"), limits=ImageLimits(min_side=10))


def test_no_warning_escapes_and_no_filter_or_limit_of_pillow_changes() -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(TooLarge):
            decode(png_header(12_000, 12_000), limits=LIMITS)
    assert seen == []
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def test_the_digest_tells_shape_and_pixels_apart() -> None:
    tall, wide = np.zeros((2, 6, 3), np.uint8), np.zeros((6, 2, 3), np.uint8)
    assert len({digest(tall), digest(wide), digest(tall + 1)}) == 3
    assert digest(tall).startswith("sha256:")


def test_the_digest_does_not_depend_on_the_file_format() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8))
    assert (
        decode(file_bytes(image, "PNG"), limits=LIMITS).digest == decode(file_bytes(image, "BMP"), limits=LIMITS).digest
    )


def test_pixels_cannot_be_changed_behind_the_digest() -> None:
    picture = decode(file_bytes(flat((1, 2, 3)), "PNG"), limits=LIMITS)
    with pytest.raises(ValueError, match="read-only"):
        picture.rgb[0, 0, 0] = 9
