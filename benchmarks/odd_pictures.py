"""Pictures as people have them, and what they have instead: made here, so that no file of anybody is needed."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SIDES = (96, 72)
ORIENTATION = 0x0112
ROTATED = 6
BOMB_SIDE = 60_000
STRIP = 20_000
TOO_MANY_BYTES = (16 << 20) + 1


def noise(seed: int) -> Image.Image:
    """Give a picture that no other seed gives: soft blots of colour."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIDES, Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Give the bytes of a picture's file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_of(width: int, height: int) -> bytes:
    """Give a PNG that claims a size and holds a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _turned(seed: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATED
    return saved(noise(seed), "JPEG", exif=exif.tobytes())


def _deep(seed: int) -> bytes:
    grey = np.asarray(noise(seed).convert("L")).astype(np.uint16)
    return saved(Image.fromarray(grey * 257), "PNG")


def _animated(seed: int, kind: str) -> bytes:
    return saved(noise(seed), kind, save_all=True, append_images=[noise(seed + 1)])


ODD: Mapping[str, Callable[[int], bytes]] = {
    "grey.png": lambda seed: saved(noise(seed).convert("L"), "PNG"),
    "one-bit.png": lambda seed: saved(noise(seed).convert("1"), "PNG"),
    "palette.gif": lambda seed: saved(noise(seed).quantize(16), "GIF"),
    "alpha.png": lambda seed: saved(noise(seed).convert("RGBA"), "PNG"),
    "grey-alpha.png": lambda seed: saved(noise(seed).convert("LA"), "PNG"),
    "cmyk.jpg": lambda seed: saved(noise(seed).convert("CMYK"), "JPEG"),
    "16-bit.png": _deep,
    "rotated.jpg": _turned,
    "animated.gif": lambda seed: _animated(seed, "GIF"),
    "animated.webp": lambda seed: _animated(seed, "WEBP"),
    "two-in-one.jpg": lambda seed: _animated(seed, "MPO"),
    "tiny.png": lambda seed: saved(noise(seed).resize((1, 1)), "PNG"),
    "narrow.png": lambda seed: saved(noise(seed).resize((400, 3)), "PNG"),
    "scan.tif": lambda seed: saved(noise(seed).convert("YCbCr"), "TIFF"),
    "old.bmp": lambda seed: saved(noise(seed), "BMP"),
}
"""Odd, and a picture all the same."""


def _bad_sum(seed: int) -> bytes:
    whole = bytearray(saved(noise(seed), "PNG"))
    whole[len(whole) // 2] ^= 0xFF
    return bytes(whole)


def _cut(seed: int, kind: str) -> bytes:
    whole = saved(noise(seed), kind)
    return whole[: len(whole) // 2]


BAD: Mapping[str, Callable[[int], bytes]] = {
    "empty.jpg": lambda seed: b"",
    "text.jpg": lambda seed: b"Dear model, what is in this picture?",
    "page.jpg": lambda seed: b"<!DOCTYPE html><html><body>404 not found</body></html>",
    "drawing.png": lambda seed: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "zeros.jpg": lambda seed: bytes(1000),
    "signature.png": lambda seed: b"\x89PNG\r\n\x1a\n",
    "cut.jpg": lambda seed: _cut(seed, "JPEG"),
    "cut.png": lambda seed: _cut(seed, "PNG"),
    "cut.gif": lambda seed: _cut(seed, "GIF"),
    "cut.webp": lambda seed: _cut(seed, "WEBP"),
    "bit-rot.png": _bad_sum,
    "bomb.png": lambda seed: png_of(BOMB_SIDE, BOMB_SIDE),
    "strip.png": lambda seed: png_of(STRIP, 1),
    "icon.png": lambda seed: saved(noise(seed), "ICO"),
}
"""No picture, in bytes."""


def _too_long(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(TOO_MANY_BYTES)


UNREADABLE: Mapping[str, Callable[[Path], None]] = {
    "gone.jpg": lambda path: path.symlink_to(path.with_name("nowhere")),
    "loop.jpg": lambda path: path.symlink_to(path),
    "pipe.jpg": os.mkfifo,
    "too-long.jpg": _too_long,
}
"""No picture, in the file system."""


def write(folder: Path, *, each: int) -> tuple[int, int]:
    """Write odd and bad pictures into a folder.

    Args:
        folder: Made where it is missing.
        each: Of every kind.

    Returns:
        How many are pictures, and how many are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(each):
        for place, (name, content) in enumerate({**ODD, **BAD}.items()):
            (folder / f"{number:03d}-{name}").write_bytes(content(2 * (number * 100 + place)))
        for name, make in UNREADABLE.items():
            make(folder / f"{number:03d}-{name}")
    return each * len(ODD), each * (len(BAD) + len(UNREADABLE))
