"""Files that pretend to be pictures: bombs, lies, loops and broken ones. The same each time.

Of every format that is allowed, and sound ones of some that are not.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from PIL import Image

from twelve.image import FORMATS

SIDE = 64
CUTS, FLIPS, SPLICES = 6, 14, 4
"""Of each format: files cut short, with bits flipped, and with a part overwritten by noise."""

MEGABYTES = 1 << 20
HUGE = 2**31 - 1
JPEG_MOST = 65_500
"""libjpeg reads no longer side."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
NOT_ALLOWED = ("ICO", "PPM", "PCX", "TGA", "SGI", "JPEG2000", "PDF", "EPS", "ICNS", "DDS", "AVIF", "PALM", "IM", "MPO")


def hostile_pictures() -> dict[str, bytes]:
    """Give all files by what is wrong with them."""
    sound = {form: saved(form) for form in FORMATS}
    found = {name: data for form, data in sound.items() for name, data in broken(form, data)}
    for bombs in (PNG_BOMBS, JPEG_BOMBS, GIF_BOMBS, BMP_BOMBS, TIFF_BOMBS, WEBP_BOMBS, STRANGERS):
        found |= {name: make() for name, make in bombs.items()}
    for form in NOT_ALLOWED:
        found |= {f"{form}: not allowed": data for data in saved_if_possible(form)}
    return found


def saved(form: str, *, side: int = SIDE, **options: object) -> bytes:
    """Give a sound picture of noise, or one of a single grey if it is large."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    image = Image.fromarray(pixels) if side == SIDE else Image.new("L", (side, side), 128)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def saved_if_possible(form: str) -> list[bytes]:
    """Give a picture of a format that this Pillow may not write."""
    try:
        return [saved(form)]
    except (OSError, KeyError, ValueError):
        return []


def broken(form: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut a sound file short, flip its bits and overwrite parts, at places that a seed chooses."""
    for seed in range(CUTS):
        yield f"{form}: cut short {seed}", data[: random.Random(seed).randrange(4, len(data))]
    for seed in range(FLIPS):
        yield f"{form}: bits flipped {seed}", flipped(data, seed, most=64 if seed % 2 else len(data))
    for seed in range(SPLICES):
        chance = random.Random(seed)
        place, length = chance.randrange(8, len(data)), chance.randrange(4, 256)
        yield f"{form}: overwritten {seed}", data[:place] + chance.randbytes(length) + data[place + length :]
    yield f"{form}: repeated", data * 3
    yield f"{form}: its end alone", data[-len(data) // 3 :]


def flipped(data: bytes, seed: int, *, most: int) -> bytes:
    """Flip some bits, of the first bytes only if most is small."""
    chance, changed = random.Random(seed), bytearray(data)
    for _ in range(chance.randrange(1, 12)):
        changed[chance.randrange(2, min(most, len(data)))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def chunk(kind: bytes, data: bytes, *, length: int | None = None) -> bytes:
    """Write a chunk of PNG, its length as it is or a lie."""
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *others: bytes, depth: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    """Write a PNG with these chunks in it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_SIGNATURE + head + b"".join(others) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """Give so many zeros, packed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MEGABYTES)) for _ in range(megabytes)) + packer.flush()


ROWS = bytes((SIDE + 1) * SIDE)
PNG_BOMBS: Mapping[str, Callable[[], bytes]] = {
    "PNG: as large as can be said": lambda: png(HUGE, HUGE),
    "PNG: larger than can be said": lambda: png(2**32 - 1, 2**32 - 1),
    "PNG: 50,000 pixels square": lambda: png(50_000, 50_000),
    "PNG: one row without end": lambda: png(HUGE, 1),
    "PNG: one column without end": lambda: png(1, HUGE),
    "PNG: no pixels": lambda: png(0, 0),
    "PNG: no columns": lambda: png(0, 64),
    "PNG: as many pixels as allowed, no data": lambda: png(7000, 7000),
    "PNG: as many pixels as allowed, one bit each": lambda: png(7000, 7000, depth=1, data=bytes(7000 * 876)),
    "PNG: 100 MB of pixels for one": lambda: png(1, 1, chunk(b"IDAT", zeros(100))),
    "PNG: 100 MB of text": lambda: png(SIDE, SIDE, chunk(b"zTXt", b"a\0\0" + zeros(100)), data=ROWS),
    "PNG: 100 MB of international text": lambda: png(
        SIDE, SIDE, chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(100)), data=ROWS
    ),
    "PNG: 100 MB of colour profile": lambda: png(SIDE, SIDE, chunk(b"iCCP", b"a\0\0" + zeros(100)), data=ROWS),
    "PNG: a hundred texts of a megabyte": lambda: png(
        SIDE, SIDE, *[chunk(b"zTXt", b"a%d\0\0" % n + zeros(1)) for n in range(100)], data=ROWS
    ),
    "PNG: text after the pixels": lambda: png(SIDE, SIDE, data=ROWS)[:-12] + chunk(b"zTXt", b"a\0\0" + zeros(100)),
    "PNG: 20,000 empty chunks": lambda: png(SIDE, SIDE, chunk(b"tEXt", b"a\0") * 20_000, data=ROWS),
    "PNG: chunks without end": lambda: png(
        SIDE, SIDE, chunk(b"teSt", b"") * ((16 * MEGABYTES - 9000) // 12), data=ROWS
    ),
    "PNG: a chunk that says 2 GB": lambda: png(SIDE, SIDE, chunk(b"tEXt", b"a", length=HUGE), data=ROWS),
    "PNG: a chunk of negative length": lambda: png(SIDE, SIDE, chunk(b"tEXt", b"a", length=2**32 - 1), data=ROWS),
    "PNG: a chunk without a name": lambda: png(SIDE, SIDE, chunk(b"\0\0\0\0", b"a"), data=ROWS),
    "PNG: a palette that is missing": lambda: png(SIDE, SIDE, colour=3, data=ROWS),
    "PNG: a palette of one byte": lambda: png(SIDE, SIDE, chunk(b"PLTE", b"a"), colour=3, data=b"\xff" * len(ROWS)),
    "PNG: a depth that is none": lambda: png(SIDE, SIDE, depth=77, data=ROWS),
    "PNG: a colour type that is none": lambda: png(SIDE, SIDE, colour=77, data=ROWS),
    "PNG: two headers": lambda: png(
        SIDE, SIDE, chunk(b"IHDR", struct.pack(">IIBBBBB", HUGE, HUGE, 8, 0, 0, 0, 0)), data=ROWS
    ),
    "PNG: a filter that is none": lambda: png(SIDE, SIDE, data=b"\xff" * len(ROWS)),
    "PNG: two billion frames": lambda: png(SIDE, SIDE, chunk(b"acTL", struct.pack(">II", HUGE, 0)), data=ROWS),
    "PNG: EXIF that is noise": lambda: png(SIDE, SIDE, chunk(b"eXIf", random.Random(0).randbytes(500)), data=ROWS),
    "PNG: EXIF that points to itself": lambda: png(SIDE, SIDE, chunk(b"eXIf", looping_exif()), data=ROWS),
    "PNG: its signature alone": lambda: PNG_SIGNATURE,
}


def looping_exif() -> bytes:
    """Give EXIF whose directories name themselves."""
    return tiff({0x8769: (4, 1, 8), 0x8825: (4, 1, 8), 0xA005: (4, 1, 8)}, following=8)


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """Give a progressive JPEG whose last scan comes again and again; each costs a pass over the whole picture."""
    data = saved("JPEG", side=side, progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * scans + b"\xff\xd9"


def jpeg_of_size(width: int, height: int) -> bytes:
    """Give a JPEG whose header lies about its size."""
    data = bytearray(saved("JPEG"))
    place = data.find(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """Give a JPEG with more segments."""
    more = b"".join(struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body for marker, body in segments)
    data = saved("JPEG")
    return data[:2] + more + data[2:]


EMPTY_NOTE = b"\xff\xfe\0\2"
"""The smallest segment."""

JPEG_BOMBS: Mapping[str, Callable[[], bytes]] = {
    "JPEG: as large as can be said": lambda: jpeg_of_size(JPEG_MOST, JPEG_MOST),
    "JPEG: as many pixels as allowed, little data": lambda: jpeg_of_size(7000, 7000),
    "JPEG: no pixels": lambda: jpeg_of_size(0, 0),
    "JPEG: no rows": lambda: jpeg_of_size(64, 0),
    "JPEG: one row without end": lambda: jpeg_of_size(65_535, 1),
    "JPEG: a thousand scans": lambda: jpeg_of_scans(2000, 1000),
    "JPEG: a hundred thousand scans": lambda: jpeg_of_scans(7000, 100_000),
    "JPEG: 60 scans of a large picture": lambda: jpeg_of_scans(3000, 50),
    "JPEG: 5,000 segments": lambda: jpeg_with(*[(0xFE, b"a" * 100)] * 5000),
    "JPEG: 200 tables": lambda: jpeg_with(*[(0xC4, bytes(17))] * 200),
    "JPEG: a table that is noise": lambda: jpeg_with((0xC4, random.Random(0).randbytes(200))),
    "JPEG: 255 parts of a colour profile": lambda: jpeg_with(
        *[(0xE2, b"ICC_PROFILE\0" + bytes([n, 255]) + bytes(60_000)) for n in range(1, 256)]
    ),
    "JPEG: EXIF that points to itself": lambda: jpeg_with((0xE1, b"Exif\0\0" + looping_exif())),
    "JPEG: EXIF that is noise": lambda: jpeg_with((0xE1, b"Exif\0\0II*\0" + random.Random(1).randbytes(2000))),
    "JPEG: more pictures behind it that are none": lambda: jpeg_with((0xE2, b"MPF\0" + looping_exif())),
    "JPEG: Photoshop's notes are noise": lambda: jpeg_with((0xED, b"Photoshop 3.0\x008BIM" + bytes(3))),
    "JPEG: a segment longer than the file": lambda: b"\xff\xd8\xff\xe0\xff\xff" + bytes(20),
    "JPEG: its first bytes alone": lambda: b"\xff\xd8\xff",
    "JPEG: fill bytes without end": lambda: b"\xff\xd8" + b"\xff" * (16 * MEGABYTES - 2),
    "JPEG: zeros without end": lambda: b"\xff\xd8\xff\xe0\0\2" + bytes(16 * MEGABYTES - 6),
    "JPEG: markers without end": lambda: b"\xff\xd8" + b"\xff\x01" * (8 * MEGABYTES - 1),
    "JPEG: scans without end": lambda: b"\xff\xd8" + b"\xff\xda\0\0" * (4 * MEGABYTES - 1),
    "JPEG: segments without end": lambda: b"\xff\xd8" + EMPTY_NOTE * (4 * MEGABYTES - 1),
    "JPEG: an end, then segments without end": lambda: b"\xff\xd8\xff\xd9" + EMPTY_NOTE * (4 * MEGABYTES - 1),
    "JPEG: an end, then zeros without end": lambda: b"\xff\xd8\xff\xd9" + bytes(16 * MEGABYTES - 4),
    "JPEG: an end, then a thousand scans": lambda: b"\xff\xd8\xff\xd9" + jpeg_of_scans(2000, 1000),
    "JPEG: segments inside unknown ones without end": lambda: (
        b"\xff\xd8" + (b"\xff\xc8\xff\xff" + EMPTY_NOTE * 16_383 + b"\0") * 255
    ),
    "JPEG: zeros between segments without end": lambda: b"\xff\xd8\xff\xe0\0\2" + (bytes(65_535) + EMPTY_NOTE) * 255,
}


def gif(*blocks: bytes, width: int = SIDE, height: int = SIDE, flags: int = 0xF0) -> bytes:
    """Write a GIF with a palette of two colours."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + bytes(6) + b"".join(blocks) + b";"


def frame(
    *, left: int = 0, top: int = 0, width: int = SIDE, height: int = SIDE, bits: int = 2, data: bytes = b"\x02\x04\x05"
) -> bytes:
    """Write a frame of a GIF."""
    return b"," + struct.pack("<HHHHBB", left, top, width, height, 0, bits) + data + b"\0"


SMALLEST = 5 << 20
"""Of the smallest parts there are, so many: a few fill the largest file that is read."""


def hidden_blocks() -> bytes:
    """Write a block of 44 bytes and millions of one; whoever takes the extension to be over sees a picture begin."""
    return b"," + bytes(44) + b"\x01a" * SMALLEST + b"\0"


GIF_BOMBS: Mapping[str, Callable[[], bytes]] = {
    "GIF: as large as can be said": lambda: gif(frame(), width=65_535, height=65_535),
    "GIF: a frame larger than all": lambda: gif(frame(width=65_535, height=65_535)),
    "GIF: a frame that begins far outside": lambda: gif(frame(left=65_535, top=65_535)),
    "GIF: a frame as large as allowed": lambda: gif(frame(width=7000, height=7000)),
    "GIF: no pixels": lambda: gif(frame(), width=0, height=0),
    "GIF: a frame of no pixels": lambda: gif(frame(width=0, height=0)),
    "GIF: 100,000 frames": lambda: gif(frame() * 100_000),
    "GIF: no frame": gif,
    "GIF: codes of 255 bits": lambda: gif(frame(bits=255)),
    "GIF: codes of no bits": lambda: gif(frame(bits=0)),
    "GIF: codes that are noise": lambda: gif(frame(data=b"\xff" + random.Random(0).randbytes(255))),
    "GIF: a palette that is missing": lambda: gif(frame(), flags=0),
    "GIF: a palette longer than the file": lambda: gif(flags=0xF7),
    "GIF: comments without end": lambda: gif(b"!\xfe" + (b"\xff" + bytes(255)) * 30_000 + b"\0", frame()),
    "GIF: an extension without end": lambda: gif(b"!\xff\x0bNETSCAPE2.0" + b"\x03\x01\xff\xff" * 9000, frame()),
    "GIF: comments of one byte": lambda: gif(b"!\xfe" + b"\x01a" * SMALLEST + b"\0", frame()),
    "GIF: empty extensions": lambda: gif(b"!\xfe\0" * SMALLEST, frame()),
    "GIF: zeros before the picture": lambda: gif(bytes(2 * SMALLEST), frame()),
    "GIF: an extension that begins with nothing": lambda: gif(b"!\x01\0" + hidden_blocks()),
    "GIF: an application without a name": lambda: gif(b"!\xff\0" + hidden_blocks()),
    "GIF: repetitions that begin with nothing": lambda: gif(b"!\xff\x0bNETSCAPE2.0\0" + hidden_blocks()),
    "GIF: unknown blocks": lambda: gif(b"\x01\x02\x03" * 10_000, frame()),
    "GIF: its signature alone": lambda: b"GIF89a",
}


def bmp(width: int, height: int, *, bits: int = 24, packing: int = 0, colours: int = 0, offset: int = 54) -> bytes:
    """Write a BMP whose header says what it likes."""
    head = struct.pack("<2sIHHI", b"BM", 54 + 3 * SIDE * SIDE, 0, 0, offset)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, 0, 0, 0, colours, 0) + bytes(4096)


BMP_BOMBS: Mapping[str, Callable[[], bytes]] = {
    "BMP: as large as can be said": lambda: bmp(HUGE, HUGE),
    "BMP: upside down and as large as can be said": lambda: bmp(64, -HUGE),
    "BMP: more upside down than there are numbers": lambda: bmp(64, -HUGE - 1),
    "BMP: negative columns": lambda: bmp(-64, 64),
    "BMP: no pixels": lambda: bmp(0, 0),
    "BMP: as many pixels as allowed, no data": lambda: bmp(7000, 7000),
    "BMP: no bits": lambda: bmp(64, 64, bits=0),
    "BMP: 3 bits": lambda: bmp(64, 64, bits=3),
    "BMP: 65,535 bits": lambda: bmp(64, 64, bits=65_535),
    "BMP: a packing that is none": lambda: bmp(64, 64, packing=77),
    "BMP: runs that are zeros": lambda: bmp(64, 64, bits=8, packing=1, colours=2, offset=62),
    "BMP: runs of a picture as large as allowed": lambda: bmp(7000, 7000, bits=8, packing=1, colours=2, offset=62),
    "BMP: fields that overlap": lambda: bmp(64, 64, bits=16, packing=3),
    "BMP: four billion colours": lambda: bmp(64, 64, bits=8, colours=2**32 - 1),
    "BMP: pixels behind the end": lambda: bmp(64, 64, offset=HUGE),
    "BMP: a header of another size": lambda: bmp(64, 64)[:14] + struct.pack("<I", HUGE) + bytes(60),
    "BMP: its signature alone": lambda: b"BM",
}

Tags = Mapping[int, tuple[int, int, int]]
PLAIN: Tags = {
    256: (4, 1, SIDE),
    257: (4, 1, SIDE),
    258: (3, 1, 8),
    259: (3, 1, 1),
    262: (3, 1, 1),
    273: (4, 1, 512),
    277: (3, 1, 1),
    278: (4, 1, SIDE),
    279: (4, 1, SIDE * SIDE),
}
"""Tags of a grey TIFF of one strip: type, count and value of each."""


def tiff(tags: Tags, *, following: int = 0, count: int | None = None) -> bytes:
    """Write a TIFF of one directory."""
    entries = b"".join(struct.pack("<HHII", tag, *values) for tag, values in sorted(tags.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags) if count is None else count)
    return (head + entries + struct.pack("<I", following)).ljust(512, b"\0") + bytes(SIDE * SIDE)


def changed(**others: tuple[int, int, int]) -> bytes:
    """Write the plain TIFF with other tags, named as t256."""
    return tiff({**PLAIN, **{int(name[1:]): values for name, values in others.items()}})


TIFF_BOMBS: Mapping[str, Callable[[], bytes]] = {
    "TIFF: as large as can be said": lambda: changed(t256=(4, 1, 2**32 - 1), t257=(4, 1, 2**32 - 1)),
    "TIFF: as many pixels as allowed, no data": lambda: changed(t256=(4, 1, 7000), t257=(4, 1, 7000)),
    "TIFF: no pixels": lambda: changed(t256=(4, 1, 0), t257=(4, 1, 0)),
    "TIFF: a directory that follows itself": lambda: tiff(PLAIN, following=8),
    "TIFF: a directory inside itself": lambda: changed(t330=(4, 1, 8), t34665=(4, 1, 8), t34853=(4, 1, 8)),
    "TIFF: a directory behind the end": lambda: tiff(PLAIN, following=HUGE),
    "TIFF: 65,535 tags": lambda: tiff(PLAIN, count=65_535),
    "TIFF: no tags": lambda: tiff({}),
    "TIFF: a strip behind the end": lambda: changed(t273=(4, 1, HUGE)),
    "TIFF: a strip of 4 GB": lambda: changed(t279=(4, 1, 2**32 - 1)),
    "TIFF: two billion strips": lambda: changed(t273=(4, HUGE, 512), t279=(4, HUGE, 512)),
    "TIFF: strips of no rows": lambda: changed(t278=(4, 1, 0)),
    "TIFF: strips of all rows": lambda: changed(t278=(4, 1, 2**32 - 1)),
    "TIFF: 65,535 samples": lambda: changed(t277=(3, 1, 65_535)),
    "TIFF: no samples": lambda: changed(t277=(3, 1, 0)),
    "TIFF: 65,535 bits": lambda: changed(t258=(3, 1, 65_535)),
    "TIFF: two billion bits per sample": lambda: changed(t258=(3, HUGE, 8)),
    "TIFF: colours that are none": lambda: changed(t262=(3, 1, 65_535)),
    "TIFF: a palette that is missing": lambda: changed(t262=(3, 1, 3)),
    "TIFF: tiles without end": lambda: changed(t322=(4, 1, HUGE), t323=(4, 1, HUGE), t324=(4, 1, 512)),
    "TIFF: tiles of nothing": lambda: changed(t322=(4, 1, 0), t323=(4, 1, 0), t324=(4, 1, 512)),
    "TIFF: a tag of a type that is none": lambda: changed(t270=(99, 5, 8)),
    "TIFF: a text of 4 GB": lambda: changed(t270=(2, 2**32 - 1, 8)),
    "TIFF: a colour profile of 4 GB": lambda: changed(t34675=(7, 2**32 - 1, 8)),
    "TIFF: an orientation that is none": lambda: changed(t274=(3, 1, 65_535)),
    "TIFF: the large kind": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(600),
    "TIFF: its signature alone": lambda: b"II*\0",
    **{
        f"TIFF: packed by {number}, which the data is not": (lambda number=number: changed(t259=(3, 1, number)))
        for number in (2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34712, 34925, 50000, 50001, 65535)
    },
}


def riff(*chunks: tuple[bytes, bytes], length: int | None = None) -> bytes:
    """Write a WEBP of these chunks."""
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def canvas(width: int, height: int, *, flags: int = 0) -> tuple[bytes, bytes]:
    """Write the chunk that says how large a WEBP is."""
    return b"VP8X", struct.pack("<I", flags) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]


def inner(**options: object) -> tuple[bytes, bytes]:
    """Give the chunk of pixels of a sound WEBP."""
    data = saved("WEBP", **options)
    return data[12:16], data[20:]


WEBP_BOMBS: Mapping[str, Callable[[], bytes]] = {
    "WEBP: as large as can be said": lambda: riff(canvas(1 << 24, 1 << 24), inner()),
    "WEBP: larger than its pixels": lambda: riff(canvas(7000, 7000), inner()),
    "WEBP: smaller than its pixels": lambda: riff(canvas(1, 1), inner()),
    "WEBP: a canvas alone": lambda: riff(canvas(64, 64)),
    "WEBP: lossy pixels of 16,383 a side": lambda: riff((b"VP8 ", b"\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(99))),
    "WEBP: lossless pixels of 16,384 a side": lambda: riff((b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(99))),
    "WEBP: lossless noise": lambda: riff((b"VP8L", b"\x2f\x3f\xc0\x0f\x00" + random.Random(0).randbytes(500))),
    "WEBP: frames that are none": lambda: riff(canvas(64, 64, flags=2), (b"ANIM", bytes(6)), (b"ANMF", bytes(16))),
    "WEBP: 5,000 frames": lambda: riff(
        canvas(64, 64, flags=2),
        (b"ANIM", bytes(6)),
        *[(b"ANMF", bytes(6) + b"\x3f\0\0\x3f\0\0" + bytes(4) + riff(inner())[12:200])] * 5000,
    ),
    "WEBP: a colour profile of 10 MB": lambda: riff(
        canvas(64, 64, flags=32), (b"ICCP", bytes(10 * MEGABYTES)), inner()
    ),
    "WEBP: transparency that is noise": lambda: riff(canvas(64, 64, flags=16), (b"ALPH", b"\x01" * 50), inner()),
    "WEBP: EXIF that points to itself": lambda: riff(canvas(64, 64, flags=8), inner(), (b"EXIF", looping_exif())),
    "WEBP: longer than it says": lambda: riff(inner(), length=4),
    "WEBP: shorter than it says": lambda: riff(inner(), length=2**32 - 2),
    "WEBP: a chunk longer than the file": lambda: b"RIFF\x64\0\0\0WEBPVP8 \xff\xff\xff\xff" + bytes(50),
    "WEBP: no chunk": riff,
    "WEBP: its signature alone": lambda: b"RIFF\0\0\0\0WEBP",
}

STRANGERS: Mapping[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\0",
    "16 MB of zeros": lambda: bytes(16 * MEGABYTES),
    "more bytes than allowed": lambda: bytes(17 * MEGABYTES),
    "noise": lambda: random.Random(0).randbytes(10_000),
    "a drawing": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "a drawing that unfolds": lambda: b"<?xml version='1.0'?><!DOCTYPE s [<!ENTITY a 'aaaa'>]><svg>&a;</svg>",
    "a program for printers": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n",
    "an archive": lambda: b"PK\3\4" + bytes(100),
    "a pickle": lambda: b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    "a page": lambda: b"<html><script>alert(1)</script></html>",
    "a picture of text lines": lambda: b"/* XPM */\nstatic char *a[] = {\n" + b'"99999 99999 9 9",' * 100,
    "a layered picture": lambda: b"8BPS\0\1" + bytes(100),
    "a picture of a PNG inside an icon": lambda: b"\0\0\1\0\1\0" + bytes(16) + png(HUGE, HUGE),
    "a film": lambda: b"\0\0\0\x18ftypmp42" + bytes(100),
}
