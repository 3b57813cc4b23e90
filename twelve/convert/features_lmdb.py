"""Features as the authors published them for 12-in-1: an LMDB whose values are pickles.

A folder with `data.mdb`. Key: the picture's id. Value: a pickled dict of image_id, image_h, image_w, num_boxes, boxes
[R, 4] and features [R, F]. One more key, `keys`, holds a pickled list of all ids.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from twelve.convert.features_entry import Entry, Names, regions_of
from twelve.convert.pickles import Refused, load_fields, load_plain
from twelve.errors import DataError
from twelve.features import RegionSet

DATA_FILE = "data.mdb"
KEYS = b"keys"
NAMES = Names(features="features", boxes="boxes", width="image_w", height="image_h")


@dataclass(frozen=True)
class LmdbFeatures:
    """Pictures of an LMDB.

    Attributes:
        path: Of its folder.
        bytes: Of its file.
    """

    path: Path
    bytes: int

    @classmethod
    def recognise(cls, path: Path) -> Self | None:
        """Take a folder that holds an LMDB; None = it is something else."""
        data = path / DATA_FILE
        return cls(path, data.stat().st_size) if data.is_file() else None

    def entries(self) -> Iterator[Entry]:
        """List the pictures in the order of their keys, then those that the list of keys promises and nobody finds.

        Yields:
            Each picture.

        Raises:
            DataError: It is no LMDB, or cut short.
        """
        promised: list[bytes] = []
        with _reading(self.path) as reading:
            for key, value in reading.cursor():
                if bytes(key) == KEYS:
                    promised = _promised(self.path, bytes(value))
                else:
                    name = bytes(key).decode("utf-8", errors="backslashreplace")
                    yield Entry(name, len(value), partial(_regions, name, value))
            for key in promised:
                if reading.get(key) is None:
                    name = key.decode("utf-8", errors="backslashreplace")
                    yield Entry(name, 0, partial(_missing, name))


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Open an LMDB for reading; what it gives are views, good until the next step.

    Yields:
        A transaction.

    Raises:
        DataError: It cannot be opened, or its file is shorter than it says: reading on would end the process.
    """
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: reading it needs lmdb: pip install 'twelve-in-one[train]'") from error
    try:
        opened = lmdb.open(str(path), readonly=True, lock=False, readahead=False, max_readers=1)
    except lmdb.Error as error:
        raise DataError(f"{path}: cannot be opened as an LMDB ({error}); download it again") from error
    with opened, opened.begin(buffers=True) as reading:
        stated, found = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"], (path / DATA_FILE).stat().st_size
        if found < stated:
            raise DataError(f"{path / DATA_FILE}: is cut short: {found:,} of {stated:,} bytes; download it again")
        yield reading


def _promised(path: Path, content: bytes) -> list[bytes]:
    try:
        listed = load_plain(content)
    except Refused as error:
        raise DataError(f"{path}: the list of all keys cannot be read: {error}") from error
    if not isinstance(listed, list) or not all(isinstance(key, bytes) for key in listed):
        raise DataError(f"{path}: the list of all keys is none; expected a list of bytes")
    return listed


def _regions(key: str, value: memoryview) -> RegionSet:
    try:
        fields = load_fields(bytes(value))
    except Refused as error:
        raise DataError(f"{key}: cannot be read as a plain pickle: {error}") from error
    return regions_of(fields, NAMES, key=key)


def _missing(key: str) -> RegionSet:
    raise DataError(f"{key}: stands in the list of all keys and nowhere else; download the file again")
