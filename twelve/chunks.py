"""How many chunks a PNG has, and how many blocks a GIF before its picture: Pillow looks at each by itself.

That holds up all other threads: 16 MiB of the smallest ones keep a processor busy for three to four seconds. Encoders
write pixels by 8 KiB and more, so the largest PNG that is read has two thousand chunks; before a GIF's picture there
are a comment or two.
"""

import struct

from twelve.errors import UnreadableImage

START = b"\x89PNG\r\n\x1a\n"
END = b"IEND"
FRAME_BYTES = 12
"""Of a chunk, beside what it holds: its length, its name and its check sum. PNG, third edition, 5.3."""

MOST_CHUNKS = 1 << 14

GIF_STARTS = (b"GIF87a", b"GIF89a")
GIF_HEADER_BYTES, GIF_FLAGS = 13, 10
"""Up to the palette, and where it is told how long that is. GIF89a, 18."""

HAS_PALETTE, PALETTE_BITS, COLOUR_BYTES = 0x80, 0x07, 3
EXTENSION, PICTURE, TRAILER = b"!,;"
COMMENT, APPLICATION = 0xFE, 0xFF
"""Kinds of extension. GIF89a, 24 and 26."""

LOOPING = b"NETSCAPE2.0"
"""The application whose extension says how often an animation repeats."""

MOST_BLOCKS = 1 << 14
"""Before the picture; a block has 255 bytes at most, so four million bytes of comments, profile and the like."""


def check_chunks(data: bytes, *, at: str | None = None) -> None:
    """See that a picture is no PNG of very many chunks; any other file has none.

    Args:
        data: The whole file.
        at: The request's field that held the bytes, for the error.

    Raises:
        UnreadableImage: It has more.
    """
    place = len(START) if data.startswith(START) else len(data)
    for _ in range(MOST_CHUNKS):
        if place + FRAME_BYTES > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, place)
        if name == END:
            return
        place += FRAME_BYTES + length
    if place + FRAME_BYTES <= len(data):
        raise UnreadableImage(f"the picture has more than {MOST_CHUNKS} chunks; save it anew as a PNG", at=at)


def check_blocks(data: bytes, *, at: str | None = None) -> None:
    """See that a picture is no GIF of very many blocks before its first frame; what follows that is not read.

    Args:
        data: The whole file.
        at: The request's field that held the bytes, for the error.

    Raises:
        UnreadableImage: It has more.
    """
    place, is_inside, certain = _behind_palette(data), False, 0
    for _ in range(MOST_BLOCKS):
        if place >= len(data):
            return
        value = data[place]
        if is_inside:  # an extension's part, of no bytes at its end
            place, is_inside, certain = place + 1 + value, value > 0 or certain > 0, certain - 1
        elif value in (PICTURE, TRAILER):
            return
        else:
            is_inside = value == EXTENSION
            certain = _certain_parts(data, place) if is_inside else 0
            place += 2 if is_inside else 1  # an extension's kind comes next; Pillow skips what it does not know
    raise UnreadableImage(f"the picture begins with more than {MOST_BLOCKS} blocks; save it anew as a GIF", at=at)


def _certain_parts(data: bytes, place: int) -> int:
    """Give how many parts of an extension Pillow reads in any case: if they are empty, that does not end it."""
    if place + 2 >= len(data) or data[place + 1] == COMMENT:
        return 0
    kind, length = data[place + 1], data[place + 2]
    repeats = kind == APPLICATION and length >= len(LOOPING) and data.startswith(LOOPING, place + 3)
    return 1 + repeats


def _behind_palette(data: bytes) -> int:
    """Give where a GIF's blocks begin; the end of any other file."""
    if not data.startswith(GIF_STARTS) or len(data) < GIF_HEADER_BYTES:
        return len(data)
    flags = data[GIF_FLAGS]
    return GIF_HEADER_BYTES + (COLOUR_BYTES * (2 << (flags & PALETTE_BITS)) if flags & HAS_PALETTE else 0)
