"""Which pictures lie in a folder: the list that an index follows, always in the same order."""

from dataclasses import dataclass
from pathlib import Path

from twelve.errors import DataError
from twelve.regions.extraction.listing import PICTURE_SUFFIXES, UNKNOWN, printable, status, walk

__all__ = ["PICTURE_SUFFIXES", "UNKNOWN", "File", "list_pictures"]


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
    """List a folder and all folders below it; see `twelve.regions.extraction.listing.walk`.

    Args:
        folder: Where to look.

    Returns:
        Its pictures, sorted by path.

    Raises:
        DataError: The folder, or one below it, cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: got no folder; give the folder that holds the pictures")
    files = (File(printable(path), *status(path)) for path in walk(str(folder.resolve())))
    return sorted(files, key=lambda file: file.path)
