"""JPEGs of many scans, PNGs of chunks, GIFs of blocks: which are refused, and what does not count."""

import io
import sys
from types import FrameType
from typing import Any

import pytest
from PIL import Image

from benchmarks.hostile_pictures import GIF_BOMBS, JPEG_BOMBS, PNG_BOMBS, chunk, jpeg_of_scans, saved
from twelve.chunks import MOST_BLOCKS, MOST_CHUNKS, check_blocks, check_chunks
from twelve.errors import UnreadableImage
from twelve.image import FORMATS, ImageLimits, decode
from twelve.scans import MOST_FILLING, MOST_MARKERS, SCAN, check_scans, markers

LIMITS = ImageLimits()
PROGRESSIVE = 6
"""Scans that libjpeg writes of a grey picture."""

SCAN_OF_NOTHING = b"\xff\xda\x00\x02"
UNKNOWN = b"\xff\x02\xff\xff"
"""Begins no segment: libjpeg reads on right behind its first two bytes."""


MOST_STEPS = 100_000
"""Of Python, to find that a picture of 16 MiB goes on without end."""


ENDLESS = [
    *(f"JPEG: {what} without end" for what in ("fill bytes", "zeros", "markers", "scans", "segments")),
    *(f"JPEG: an end, then {what}" for what in ("segments without end", "zeros without end", "a thousand scans")),
    "JPEG: segments inside unknown ones without end",
    "JPEG: zeros between segments without end",
    "PNG: chunks without end",
]
BOMBS = {**JPEG_BOMBS, **PNG_BOMBS}


def scans(data: bytes) -> int:
    return sum(kind == SCAN for kind, _ in markers(data))


def segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + (2 + len(body)).to_bytes(2, "big") + body


def test_a_jpeg_of_as_many_scans_as_allowed_is_decoded_and_one_more_is_not() -> None:
    most = LIMITS.max_scans - PROGRESSIVE
    assert decode(jpeg_of_scans(100, most), limits=LIMITS).width == 100
    with pytest.raises(UnreadableImage, match=r"^the picture has more than 64 scans"):
        decode(jpeg_of_scans(100, most + 1), limits=LIMITS)


@pytest.mark.parametrize("quality", [1, 50, 95, 100])
@pytest.mark.parametrize(("progressive", "count"), [(False, 1), (True, 10)])
@pytest.mark.parametrize("restarts", [0, 1])
def test_scans_are_counted(quality: int, progressive: bool, count: int, restarts: int) -> None:
    noise = saved("JPEG", quality=quality, progressive=progressive, restart_marker_blocks=restarts)
    assert scans(noise) == count


@pytest.mark.parametrize("form", FORMATS[1:])
def test_other_formats_have_none(form: str) -> None:
    assert scans(saved(form) + SCAN_OF_NOTHING * 100) == 0


def test_bytes_of_a_segment_and_of_what_follows_the_picture_are_no_scans() -> None:
    picture = saved("JPEG")
    thumbnail = segment(0xE1, b"Exif\0\0" + picture * 20)
    filmed = picture[:2] + thumbnail + segment(0xE2, SCAN_OF_NOTHING * 100) + picture[2:] + SCAN_OF_NOTHING * 100
    assert scans(filmed) == 1
    assert decode(filmed, limits=LIMITS).digest == decode(picture, limits=LIMITS).digest


def test_several_pictures_in_one_file_count_by_the_first() -> None:
    stream, one = io.BytesIO(), Image.new("RGB", (32, 32))
    one.save(stream, "MPO", save_all=True, append_images=[one] * 80)
    assert scans(stream.getvalue()) == 1
    assert decode(stream.getvalue(), limits=LIMITS).width == 32


@pytest.mark.parametrize("before", [b"\xff" * 9, b"\xff\x01", b"\xff\xd0", b"rubbish", UNKNOWN], ids=bytes.hex)
def test_scans_do_not_hide_behind_odd_bytes(before: bytes) -> None:
    assert scans(b"\xff\xd8" + (before + SCAN_OF_NOTHING) * 70 + b"\xff\xd9") == 70


@pytest.mark.parametrize("end", [b"", b"\xff", b"\xff\xda", b"\xff\xda\x00", b"\xff\xda\x00\x00", b"\xff\xda\xff\xff"])
def test_a_file_that_ends_early_is_read_to_its_end(end: bytes) -> None:
    assert scans(b"\xff\xd8" + end) == (b"\xda" in end)


def steps_of(data: bytes) -> int:
    """Refuse a picture; give how many lines of Python that took, Pillow's included."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        if steps > MOST_STEPS:
            raise AssertionError(f"goes on for ever, in {frame.f_code.co_filename}")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(UnreadableImage):
            decode(data, limits=LIMITS)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize("name", ENDLESS)
def test_what_goes_on_without_end_is_refused_after_a_few_steps(name: str) -> None:
    assert steps_of(BOMBS[name]()) <= MOST_STEPS


def test_a_picture_of_as_many_markers_as_allowed_is_decoded_and_one_more_is_not() -> None:
    picture = saved("JPEG")
    left = MOST_MARKERS - len(list(markers(picture)))
    notes = segment(0xFE, b"a") * left
    assert decode(picture[:2] + notes + picture[2:], limits=LIMITS).digest == decode(picture, limits=LIMITS).digest
    with pytest.raises(UnreadableImage, match=r"^the picture has more than 4096 markers"):
        decode(picture[:2] + segment(0xFE, b"") + notes + picture[2:], limits=LIMITS)


def test_filling_is_allowed_up_to_its_bound_and_without_any_behind_the_first_scan() -> None:
    picture = saved("JPEG")
    check_scans(picture[:2] + bytes(MOST_FILLING) + picture[2:], most=1)
    check_scans(picture[:-2] + bytes(2 * MOST_FILLING) + picture[-2:], most=1)
    with pytest.raises(UnreadableImage, match=r"^the picture has 65537 bytes that mean nothing"):
        check_scans(picture[:2] + bytes(MOST_FILLING + 1) + picture[2:], most=1)


def test_filling_counts_in_all_gaps_together() -> None:
    picture, gaps = saved("JPEG"), 8
    filling = bytes(MOST_FILLING // gaps) + segment(0xFE, b"a")
    check_scans(picture[:2] + filling * gaps + picture[2:], most=1)
    with pytest.raises(UnreadableImage, match=r"^the picture has 65537 bytes that mean nothing"):
        check_scans(picture[:2] + filling * gaps + b"\0" + picture[2:], most=1)


@pytest.mark.parametrize("kind", [0xC8, *range(0xF0, 0xFE)], ids=hex)
def test_what_pillow_takes_for_no_segment_hides_no_markers(kind: int) -> None:
    unknown = segment(kind, segment(0xFE, b"") * MOST_MARKERS)
    with pytest.raises(UnreadableImage, match=r"^the picture has more than 4096 markers"):
        check_scans(saved("JPEG")[:2] + unknown + saved("JPEG")[2:], most=1)


def test_an_end_before_the_first_scan_does_not_hide_what_follows() -> None:
    tables = b"\xff\xd8" + segment(0xDB, bytes([0]) + bytes([1]) * 64) + b"\xff\xd9"
    for early in (b"\xff\xd8\xff\xd9", tables):
        with pytest.raises(UnreadableImage, match=r"^the picture ends before its first scan"):
            decode(early + jpeg_of_scans(100, LIMITS.max_scans), limits=LIMITS)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_all_that_programs_write_before_the_first_scan_is_decoded(mode: str, progressive: bool) -> None:
    pixels, plain, full = Image.effect_noise((64, 64), 50).convert(mode), io.BytesIO(), io.BytesIO()
    pixels.save(plain, "JPEG", progressive=progressive)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + bytes(60_000)
    profile = bytes(range(256)) * 1200  # five segments of 64 KiB
    pixels.save(full, "JPEG", progressive=progressive, exif=exif, icc_profile=profile, comment="a" * 60_000)
    preview = segment(0xED, b"Photoshop 3.0\x008BIM\x04\x0c\0\0" + bytes(4)) + segment(0xEE, b"Adobe" + bytes(100))
    data = full.getvalue()
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == profile
    assert decode(data, limits=LIMITS).digest == decode(plain.getvalue(), limits=LIMITS).digest
    check_scans(data[:2] + preview + data[2:], most=LIMITS.max_scans)


def test_a_png_of_as_many_chunks_as_allowed_is_decoded_and_one_more_is_not() -> None:
    picture = saved("PNG")
    begins, ends = picture[:-12], picture[-12:]
    notes = chunk(b"teSt", b"") * (MOST_CHUNKS - 3)  # IHDR, IDAT and IEND are the others
    assert decode(begins + notes + ends, limits=LIMITS).digest == decode(picture, limits=LIMITS).digest
    with pytest.raises(UnreadableImage, match=r"^the picture has more than 16384 chunks"):
        check_chunks(begins + notes + chunk(b"teSt", b"") + ends)


def test_what_follows_a_png_are_none_of_its_chunks() -> None:
    check_chunks(saved("PNG") + bytes(20 * MOST_CHUNKS))


@pytest.mark.parametrize("part", [b"!\xfe\x01a\0", b"!\xf9\x04\0\0\0\0\0", b"\0"])
def test_a_gif_of_as_many_blocks_as_allowed_is_decoded_and_one_more_is_not(part: bytes) -> None:
    picture = saved("GIF")
    begins = 13 + 3 * (2 << (picture[10] & 7))
    steps = {5: 3, 8: 3, 1: 1}[len(part)]  # its beginning, what it holds, its end
    most = (MOST_BLOCKS - 1) // steps

    def with_parts(count: int) -> bytes:
        return picture[:begins] + part * count + picture[begins:]

    assert decode(with_parts(most), limits=LIMITS).digest == decode(picture, limits=LIMITS).digest
    with pytest.raises(UnreadableImage, match=r"^the picture begins with more than 16384 blocks"):
        decode(with_parts(most + 1), limits=LIMITS)


def test_what_follows_a_gifs_first_frame_are_none_of_its_blocks() -> None:
    check_blocks(saved("GIF")[:-1] + b"!\xfe" + b"\x01a" * MOST_BLOCKS + b"\0;")


@pytest.mark.parametrize(
    "begins", [b"\x01\0", b"\xf9\0", b"\xff\0", b"\xff\x0bNETSCAPE2.0\0", b"\xff\x0cNETSCAPE2.0a\0"]
)
def test_a_gifs_extension_that_begins_with_nothing_ends_where_pillow_ends_it(begins: bytes) -> None:
    picture = saved("GIF")
    place = 13 + 3 * (2 << (picture[10] & 7))

    def with_blocks(count: int) -> bytes:
        return picture[:place] + b"!" + begins + b"," + bytes(44) + b"\x01a" * count + b"\0" + picture[place:]

    assert decode(with_blocks(9), limits=LIMITS).digest == decode(picture, limits=LIMITS).digest
    with pytest.raises(UnreadableImage, match=r"^the picture begins with more than 16384 blocks"):
        check_blocks(with_blocks(MOST_BLOCKS))


@pytest.mark.parametrize("begins", [b"\xfe", b"\x01\x01a", b"\xff\x0bNETSCAPE2.1", b"\xff\x0bNETSCAPE2.0\x03\x01\0\0"])
def test_a_gifs_extension_ends_with_an_empty_block(begins: bytes) -> None:
    picture = saved("GIF")
    place = 13 + 3 * (2 << (picture[10] & 7))
    data = picture[:place] + b"!" + begins + b"\0" + picture[place:]
    check_blocks(data + b"\x01a" * MOST_BLOCKS)
    assert decode(data, limits=LIMITS).digest == decode(picture, limits=LIMITS).digest


def test_an_animated_gif_with_a_comment_and_xmp_is_decoded() -> None:
    stream, one = io.BytesIO(), Image.effect_noise((64, 64), 50)
    xmp = b"!\xff\x0bXMP DataXMP" + b"<rdf:li>water</rdf:li>" * 1000 + b"\1" + bytes(range(255, -1, -1)) + b"\0"
    others = [Image.effect_noise((64, 64), 50) for _ in range(30)]
    one.save(stream, "GIF", save_all=True, append_images=others, loop=0, duration=40, comment=b"a" * 2000)
    place = 13 + 3 * (2 << (stream.getvalue()[10] & 7))
    data = stream.getvalue()[:place] + xmp + stream.getvalue()[place:]
    with Image.open(io.BytesIO(data)) as image:
        assert (image.info["loop"], image.info["comment"], image.n_frames) == (0, b"a" * 2000, 31)
    assert decode(data, limits=LIMITS).rgb[..., 0].tobytes() == one.tobytes()


@pytest.mark.parametrize(
    "name",
    [
        "comments of one byte",
        "empty extensions",
        "zeros before the picture",
        "an extension that begins with nothing",
        "an application without a name",
        "repetitions that begin with nothing",
    ],
)
def test_a_gif_of_millions_of_blocks_is_refused_before_pillow_walks_them(name: str) -> None:
    with pytest.raises(UnreadableImage, match="blocks"):
        check_blocks(GIF_BOMBS[f"GIF: {name}"]())
