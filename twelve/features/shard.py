"""One shard: the regions of some pictures in one immutable safetensors file, memory-mapped for reading.

Shapes: P pictures · N regions of all of them · F feature width.

    features   [N, F]     as the store's encoding says, which may add arrays of its own
    boxes_px   [N, 4]     float32
    scores     [N]        float32
    labels     [N]        int32
    offsets    [P + 1]    int64, where each picture's regions begin and end
    sizes      [P, 3]     int32, width, height, given
    keys       [bytes]    uint8, a JSON list of P strings

The file's name is its number and the sha256 of its bytes. The layout is that of safetensors, so other programs can
read a shard; we map it ourselves because safetensors copies what it slices (11 ms against 1.6 for 100 pictures), and
with torch because its maps hold no file open: a store has more shards than a process may have files.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from twelve.errors import DataError
from twelve.features.encoding import Arrays, Encoding
from twelve.features.region_set import RegionSet

SUFFIX = ".safetensors"

_LENGTH = struct.Struct("<Q")
_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8}
_DAMAGED = (ValueError, KeyError, TypeError, OverflowError, RuntimeError, struct.error)
"""What comes of reading bytes as a shard that are none; torch raises RuntimeError."""


def pack(items: Sequence[tuple[str, RegionSet]], encoding: Encoding) -> bytes:
    """Give the bytes of a shard; equal items, equal bytes.

    Args:
        items: Keys and regions, at least one; all of one feature width.
        encoding: Of the features.

    Returns:
        The whole file.
    """
    sets = [regions for _, regions in items]
    arrays = {
        **encoding.encode(torch.cat([regions.features for regions in sets]).float()),
        "boxes_px": torch.cat([regions.boxes_px for regions in sets]).float().numpy(),
        "scores": torch.cat([regions.scores for regions in sets]).float().numpy(),
        "labels": torch.cat([regions.labels for regions in sets]).int().numpy(),
        "offsets": np.cumsum([0, *map(len, sets)], dtype=np.int64),
        "sizes": np.array([[each.width, each.height, each.given] for each in sets], dtype=np.int32),
        "keys": np.frombuffer(json.dumps([key for key, _ in items]).encode(), dtype=np.uint8),
    }
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def file_name(number: int, data: bytes) -> str:
    """Name a shard by its number and content."""
    return f"{number:08d}-{hashlib.sha256(data).hexdigest()}{SUFFIX}"


def number_of(path: Path) -> int:
    """Read the number off a shard's name.

    Raises:
        DataError: It is no name that `file_name` gives.
    """
    number, _, digest = path.stem.partition("-")
    if not number.isdecimal() or not digest:
        raise DataError(f"{path}: this is not the name of a shard; move the file elsewhere")
    return int(number)


def verify(path: Path) -> None:
    """Compare a shard's bytes with the sha256 in its name.

    Raises:
        DataError: They differ.
    """
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    stated = path.stem.partition("-")[2]
    if found != stated:
        raise DataError(f"{path}: the file has sha256 {found[:12]}…, its name states {stated[:12]}…; restore it")


@dataclass(frozen=True)
class Shard:
    """An opened shard.

    Attributes:
        path: Of its file.
        arrays: The mapped arrays; never written to.
        offsets: Where each picture's regions begin and end, off the map.
        sizes: Each picture's width, height, given; likewise.
        encoding: Of the features.
    """

    path: Path
    arrays: Arrays
    offsets: Sequence[int]
    sizes: Sequence[Sequence[int]]
    encoding: Encoding

    @classmethod
    def open(cls, path: Path, encoding: Encoding) -> Self:
        """Map a shard.

        Args:
            path: Of its file.
            encoding: Of the store.

        Returns:
            The shard; its features are not read yet.

        Raises:
            DataError: The file is cut short or no shard.
        """
        try:
            arrays = _mapped(path)
            return cls(path, arrays, arrays["offsets"].tolist(), arrays["sizes"].tolist(), encoding)
        except _DAMAGED as error:
            raise _damaged(path, error) from error

    def keys(self) -> tuple[str, ...]:
        """Give the keys of its pictures, in the order they were written.

        Raises:
            DataError: They cannot be read.
        """
        try:
            return tuple(json.loads(self.arrays["keys"].tobytes()))
        except _DAMAGED as error:
            raise _damaged(self.path, error) from error

    def regions(self, row: int) -> RegionSet:
        """Give the regions of the picture at a row, copied off the map."""
        rows = slice(self.offsets[row], self.offsets[row + 1])
        width, height, given = self.sizes[row]
        return RegionSet(
            features=self.encoding.decode(self.arrays, rows),
            boxes_px=torch.from_numpy(self.arrays["boxes_px"][rows].copy()),
            scores=torch.from_numpy(self.arrays["scores"][rows].copy()),
            labels=torch.from_numpy(self.arrays["labels"][rows].astype(np.int64)),
            width=width,
            height=height,
            given=given,
        )


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: the shard is damaged or cut short ({error}); restore it")


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """Map each array of a safetensors file: 8 bytes of length, a JSON header, then the arrays."""
    content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8).numpy()
    (length,) = _LENGTH.unpack(content[: _LENGTH.size].tobytes())
    begin = _LENGTH.size + length
    header = json.loads(content[_LENGTH.size : begin].tobytes())
    return {name: _array(content[begin:], entry) for name, entry in header.items() if name != "__metadata__"}


def _array(content: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[Any]:
    first, last = entry["data_offsets"]
    return content[first:last].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
