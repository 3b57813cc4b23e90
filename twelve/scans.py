"""How often a JPEG says its picture: each scan is a pass over all of it, however few bytes it has.

A file of 200 KB with 2,000 scans of a large picture keeps a processor busy for a minute, within every limit on bytes
and pixels. Encoders write ten scans or so.

The walk goes from marker to marker as libjpeg does, and stops where the picture ends: phones write further pictures and
films behind it, whose bytes look like anything.
"""

import re

START = b"\xff\xd8"

MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""ITU T.81, table B.1. In a scan's own data 0xff is followed by zero or by a restart's marker; 0xff may be repeated."""

SEGMENTS = frozenset(range(0xC0, 0xFF)) - {0xD8, 0xD9}
"""Markers that begin a segment, whose length follows. libjpeg knows no others, and skips no bytes after them."""

SCAN, END = 0xDA, 0xD9


def scans(data: bytes) -> int:
    """Count the scans of a JPEG's first picture; 0 for any other file.

    Args:
        data: The whole file. Broken ones are read as far as libjpeg could.
    """
    count, place = 0, len(START) if data.startswith(START) else len(data)
    while found := MARKER.search(data, place):
        kind = found[1][0]
        if kind == END:
            break
        count += kind == SCAN
        place = found.end() + (int.from_bytes(data[found.end() : found.end() + 2], "big") if kind in SEGMENTS else 0)
    return count
