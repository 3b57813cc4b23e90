"""Which pictures lie in a folder: the list that an index follows, always in the same order."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twelve.errors import DataError

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"},
)
"""Names that promise a picture, in any case. Other files are no business of an index."""

UNKNOWN = -1
"""The size and time of a file that could not be asked for them."""


@dataclass(frozen=True)
class File:
    """A file that promises to be a picture.

    Attributes:
        path: Absolute. Bytes of a name that are no UTF-8 stand as backslash escapes.
        size: Bytes.
        mtime_ns: When it was last written to.
    """

    path: str
    size: int
    mtime_ns: int


def list_pictures(folder: Path) -> list[File]:
    """List a folder and all folders below it. Links to files are followed, links to folders are not: they can loop.

    Args:
        folder: Where to look.

    Returns:
        Its pictures, sorted by path.

    Raises:
        DataError: The folder, or one below it, cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: got no folder; give the folder that holds the pictures")
    return sorted(_files(folder.resolve()), key=lambda file: file.path)


def _files(folder: Path) -> Iterator[File]:
    for place, _, names in os.walk(folder, onerror=_refuse):
        for name in names:
            if os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES:
                yield _described(os.path.join(place, name))


def _described(path: str) -> File:
    printable = os.fsencode(path).decode("utf-8", "backslashreplace")
    try:
        status = os.stat(path)
    except OSError:  # a link to nothing, a file just removed: reading it will say so
        return File(printable, UNKNOWN, UNKNOWN)
    return File(printable, status.st_size, status.st_mtime_ns)


def _refuse(error: OSError) -> None:
    raise DataError(
        f"{error.filename}: the folder cannot be listed ({error.strerror}); make it readable or leave it out"
    )
