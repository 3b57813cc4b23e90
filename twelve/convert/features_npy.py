"""Features as the published extractor writes them: a folder with one pickled `.npy` a picture.

File: `<picture's id>.npy`, an array of shape [] that holds a dict of image_id, bbox [R, 4], num_boxes, objects,
image_width, image_height, cls_prob and features [R, F]. objects and cls_prob are passed over: the script that wrote
them cut off a region where it meant to cut off the background class, so they stand beside other regions.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.lib import format as npy

from twelve.convert.features_entry import Entry, Names, regions_of
from twelve.convert.pickles import Refused, load_fields
from twelve.errors import DataError
from twelve.features import RegionSet

SUFFIX = ".npy"
NAMES = Names(features="features", boxes="bbox", width="image_width", height="image_height")

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class NpyFeatures:
    """Pictures of a folder.

    Attributes:
        path: Of the folder.
        files: One a picture, sorted by name.
        bytes: Of all files.
    """

    path: Path
    files: tuple[Path, ...]
    bytes: int

    @classmethod
    def recognise(cls, path: Path) -> Self | None:
        """Take a folder that holds `.npy` files; None = it is something else."""
        files = tuple(sorted(path.glob(f"*{SUFFIX}")))
        return cls(path, files, sum(file.stat().st_size for file in files)) if files else None

    def entries(self) -> Iterator[Entry]:
        """List the pictures.

        Yields:
            Each picture.
        """
        for file in self.files:
            yield Entry(file.stem, file.stat().st_size, partial(_regions, file))


def _regions(file: Path) -> RegionSet:
    key = file.stem
    try:
        fields = load_fields(_pickle(file.read_bytes()))
    except (Refused, ValueError) as error:
        raise DataError(f"{key}: {file.name} cannot be read as a plain pickle in a .npy: {error}") from error
    return regions_of(fields, NAMES, key=key)


def _pickle(content: bytes) -> bytes:
    """Give what follows the header of a `.npy` that holds one object.

    Raises:
        ValueError: It holds something else, or is none.
    """
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"it has version {version} of the format, expected one of {', '.join(map(str, _HEADERS))}")
    shape, _, dtype = _HEADERS[version](stream)
    if dtype != np.dtype(object) or shape != ():
        raise ValueError(f"it holds an array of {dtype}, shape {list(shape)}, expected one dict of fields")
    return stream.read()
