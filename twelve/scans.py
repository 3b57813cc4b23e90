"""How often a JPEG says its picture: each scan is a pass over all of it, however few bytes it has.

A file of 200 KB with 2,000 scans of a large picture keeps a processor busy for a minute, within every limit on bytes
and pixels. Encoders write ten scans or so.

The walk goes from marker to marker, as Pillow does up to the first scan and libjpeg behind it. It stops where the
picture ends: phones write further pictures and films behind it, whose bytes look like anything. It is itself bounded,
for it and Pillow's own hold up all other threads.
"""

import re
from collections.abc import Iterator

from twelve.errors import UnreadableImage

START = b"\xff\xd8"

MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""ITU T.81, table B.1. In a scan's own data 0xff is followed by zero or by a restart's marker; 0xff may be repeated."""

SEGMENTS = frozenset(range(0xC0, 0xFF)) - {0xC8, 0xD8, 0xD9} - frozenset(range(0xF0, 0xFE))
"""Markers that begin a segment, whose length follows. After others Pillow skips no bytes, though JPG and JPG0 to JPG13
(0xc8, 0xf0 to 0xfd) have a length by the standard; libjpeg decodes no picture with one of those."""

SCAN, END = 0xDA, 0xD9
CUT = 0x00
"""No marker: stands for the END that a file lacks."""

MOST_MARKERS = 4096
"""Of a picture. A profile in 255 parts, EXIF and 64 scans with tables of their own have a tenth."""

MOST_FILLING = 1 << 16
"""Bytes of no segment before the first scan, where nothing belongs; some programs fill up to a round length."""


def check_scans(data: bytes, *, most: int, at: str | None = None) -> None:
    """See that a picture is no JPEG that costs far more than others of its size.

    Args:
        data: The whole file.
        most: Scans that are decoded.
        at: The request's field that held the bytes, for the error.

    Raises:
        UnreadableImage: It has more scans, very many markers, much that belongs to none, or an end before the first
            scan: Pillow and libjpeg go on behind that, as if only tables had come so far.
    """
    count = meaningless = 0
    for walked, (kind, filling) in enumerate(markers(data), start=1):
        if walked > MOST_MARKERS:
            raise UnreadableImage(f"the picture has more than {MOST_MARKERS} markers; save it anew as a JPEG", at=at)
        meaningless += 0 if count else filling
        if meaningless > MOST_FILLING:
            raise UnreadableImage(
                f"the picture has {meaningless} bytes that mean nothing; save it anew as a JPEG", at=at
            )
        if kind == END and not count:
            raise UnreadableImage("the picture ends before its first scan; send a whole, unbroken file", at=at)
        count += kind == SCAN
        if count > most:
            raise UnreadableImage(
                f"the picture has more than {most} scans, which are not decoded; save it as a baseline JPEG", at=at
            )


def markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Walk over the markers of a JPEG's first picture, its end or CUT included; any other file has none.

    Args:
        data: The whole file. Broken ones are read as far as libjpeg could.

    Yields:
        The marker's second byte, and how many bytes stand before it that no segment holds.
    """
    place = len(START) if data.startswith(START) else len(data)
    while place < len(data):
        found = MARKER.search(data, place)
        kind, begins, ends = (found[1][0], found.start(), found.end()) if found else (CUT, len(data), len(data))
        yield kind, begins - place
        if kind in (CUT, END):
            return
        place = ends + (int.from_bytes(data[ends : ends + 2], "big") if kind in SEGMENTS else 0)
