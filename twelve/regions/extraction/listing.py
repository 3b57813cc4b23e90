"""Which files of a folder are pictures by name: always in the same order, and never all of them in memory."""

import os
from collections.abc import Iterator

from twelve.errors import DataError

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"},
)
"""Names that promise a picture, in any case. Other files are nobody's business."""

UNKNOWN = -1
"""The size and time of a file that could not be asked for them."""


def walk(folder: str) -> Iterator[str]:
    """List the pictures of a folder and of all folders below it, each folder's names sorted.

    Links to files are followed, links to folders are not: they can loop. Only the names of the folders on the way to
    the file at hand are in memory.

    Args:
        folder: Where to look.

    Yields:
        Paths that begin with the folder's.

    Raises:
        DataError: The folder, or one below it, cannot be listed.
    """
    folders, names = _content(folder)
    for name in sorted([*folders, *names]):
        path = os.path.join(folder, name)
        if name in folders:
            yield from walk(path)
        else:
            yield path


def promises_picture(name: str) -> bool:
    """Tell whether a file's name is that of a picture."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def status(path: str) -> tuple[int, int]:
    """Give a file's size and the nanosecond it was last written in; UNKNOWN both if it cannot be asked.

    A link to nothing, or a file that was just removed: reading it will say so.
    """
    try:
        found = os.stat(path)
    except OSError:
        return UNKNOWN, UNKNOWN
    return found.st_size, found.st_mtime_ns


def printable(path: str) -> str:
    """Give a path as text: bytes of a name that are no UTF-8 stand as backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _content(folder: str) -> tuple[set[str], list[str]]:
    """Give the names of the folders and of the pictures that lie directly in a folder."""
    folders: set[str] = set()
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_folder(entry):
                    names.extend([entry.name] if promises_picture(entry.name) else [])
                elif not entry.is_symlink():
                    folders.add(entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: the folder cannot be listed ({error.strerror}); make it readable or leave it out"
        ) from error
    return folders, names


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
