"""Features as bottom-up attention published them: a table of tab-separated columns, arrays in base64.

Columns, without a line of names: image_id, image_w, image_h, num_boxes, boxes [R, 4], features [R, F]; the last two
are float32, least significant byte first.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twelve.convert.features_entry import Entry, Names, regions_of
from twelve.errors import DataError
from twelve.features import RegionSet

SUFFIX = ".tsv"
COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
NUMBERS = ("image_w", "image_h", "num_boxes")
DIGITS = 9
"""Of any sensible count."""

ARRAYS = ("boxes", "features")
NAMES = Names(features="features", boxes="boxes", width="image_w", height="image_h")


@dataclass(frozen=True)
class TsvFeatures:
    """Pictures of a table.

    Attributes:
        path: Of the file.
        bytes: Of the file.
    """

    path: Path
    bytes: int

    @classmethod
    def recognise(cls, path: Path) -> Self | None:
        """Take a file that is called a table; None = it is something else."""
        return cls(path, path.stat().st_size) if path.suffix == SUFFIX and path.is_file() else None

    def entries(self) -> Iterator[Entry]:
        """List the pictures line by line; a line whose picture cannot be told goes by its number.

        Yields:
            Each picture.
        """
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                columns = line.rstrip(b"\r\n").split(b"\t")
                if len(columns) == len(COLUMNS):
                    key = columns[0].decode("utf-8", errors="backslashreplace")
                    yield Entry(key, len(line), partial(_regions, key, columns))
                else:
                    yield Entry(f"line {number}", len(line), partial(_no_picture, number, len(columns)))


def _regions(key: str, columns: list[bytes]) -> RegionSet:
    texts = dict(zip(COLUMNS, columns, strict=True))
    numbers = {name: _number(texts[name], name, key=key) for name in NUMBERS}
    arrays = {name: _array(texts[name], numbers["num_boxes"], name, key=key) for name in ARRAYS}
    return regions_of({**numbers, **arrays}, NAMES, key=key)


def _number(text: bytes, name: str, *, key: str) -> int:
    if not text.isdigit() or len(text) > DIGITS:
        raise DataError(f"{key}: {name} is {text!r:.60}, expected a count")
    return int(text)


def _array(text: bytes, rows: int, name: str, *, key: str) -> NDArray[np.float32]:
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
        return numbers.reshape(rows, len(numbers) // max(rows, 1))
    except ValueError as error:
        raise DataError(f"{key}: {name} is no base64 of float32 for {rows} regions ({error})") from error


def _no_picture(number: int, columns: int) -> RegionSet:
    raise DataError(f"line {number}: has {columns} columns, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
