"""How many chunks a PNG has: Pillow looks at each by itself, and that holds up all other threads.

16 MiB of empty chunks keep a processor busy for four seconds. Encoders write pixels by 8 KiB and more, so the largest
file that is read has two thousand of them.
"""

import struct

from twelve.errors import UnreadableImage

START = b"\x89PNG\r\n\x1a\n"
END = b"IEND"
FRAME_BYTES = 12
"""Of a chunk, beside what it holds: its length, its name and its check sum. PNG, third edition, 5.3."""

MOST_CHUNKS = 1 << 14


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
