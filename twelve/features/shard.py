"""One shard: the regions of some pictures in one immutable safetensors file, memory-mapped for reading.

Shapes: P pictures · N regions of all of them · F feature width.

    features   [N, F]     as the store's encoding says, which may add arrays of its own
    boxes_px   [N, 4]     float32
    scores     [N]        float32
    labels     [N]        int32
    offsets    [P + 1]    int64, where each picture's regions begin and end
    sizes      [P, 3]     int32, width, height, given
    keys       [bytes]    uint8, a JSON list of P strings

The header's metadata state the settings of the store; older shards state nothing. The file's name is its number and the
sha256 of its bytes. The layout is that of safetensors, so other programs can read a shard; we map it ourselves because
safetensors copies what it slices (11 ms against 1.6 for 100 pictures), and with torch because its maps hold no file
open: a store has more shards than a process may have files.
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
from twelve.features import settings
from twelve.features.encoding import ENCODINGS, Arrays, Encoding, Layout
from twelve.features.region_set import RegionSet
from twelve.features.settings import Settings

SUFFIX = ".safetensors"
CORNERS = 4

LARGEST = 2**31 - 1
"""Of what is kept as int32."""

_LENGTH = struct.Struct("<Q")
_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8}
_METADATA = "__metadata__"
_OF_REGIONS: Layout = {"boxes_px": (np.float32, (CORNERS,)), "scores": (np.float32, ()), "labels": (np.int32, ())}
_OF_PICTURES: Layout = {"sizes": (np.int32, (3,))}
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError, struct.error)
"""What comes of reading bytes as a shard that are none; torch raises RuntimeError."""


def pack(items: Sequence[tuple[str, RegionSet]], kept: Settings) -> bytes:
    """Give the bytes of a shard; equal items, equal bytes.

    Args:
        items: Keys and regions, at least one; all of one feature width.
        kept: Settings of the store.

    Returns:
        The whole file.
    """
    encoding = ENCODINGS[kept.encoding]
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
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(save(whole, metadata=settings.stated(kept)))


def check(key: str, regions: RegionSet) -> None:
    """See that a shard can hold a picture as it is.

    Args:
        key: Of the picture.
        regions: Its regions.

    Raises:
        DataError: The key is no text that a file can hold, an array has another shape, or a number is none or too
            large; names the key.
    """
    _check_key(key)
    rows = len(regions)
    shapes = {
        "boxes": (regions.boxes_px, (rows, CORNERS)),
        "scores": (regions.scores, (rows,)),
        "labels": (regions.labels, (rows,)),
    }
    for name, (array, shape) in shapes.items():
        if tuple(array.shape) != shape:
            raise DataError(
                f"{key}: {name} have shape {list(array.shape)}, expected {list(shape)}, those of {rows} regions"
            )
    if not regions.scores.isfinite().all():
        raise DataError(f"{key}: a score is no finite number")
    labels = regions.labels
    if labels.is_floating_point() or not ((labels >= -LARGEST) & (labels <= LARGEST)).all():
        raise DataError(f"{key}: a label is no whole number, or beyond {LARGEST:,}")
    for name, count, least, most in (
        ("width", regions.width, 1, LARGEST),
        ("height", regions.height, 1, LARGEST),
        ("given", regions.given, 0, rows),
    ):
        if type(count) is not int or not least <= count <= most:
            raise DataError(f"{key}: {name} is {count!r:.60}, expected a whole number from {least} to {most:,}")


def _check_key(key: str) -> None:
    if not isinstance(key, str):
        raise DataError(f"{key!r:.60}: this key is no text; pictures are kept under texts")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{key!r:.60}: this key has half a character at {error.start}; write the whole one") from error


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
    def open(cls, path: Path, kept: Settings) -> Self:
        """Map a shard.

        Args:
            path: Of its file.
            kept: Settings of the store.

        Returns:
            The shard; its features are not read yet.

        Raises:
            DataError: The file is cut short, no shard, or one of a store with other settings.
        """
        encoding = ENCODINGS[kept.encoding]
        try:
            stated, arrays = _mapped(path)
            differing = settings.differing(stated, kept) or _misshapen(arrays, encoding.layout(kept.feature_width))
            opened = cls(path, arrays, arrays["offsets"].tolist(), arrays["sizes"].tolist(), encoding)
        except _DAMAGED as error:
            raise _damaged(path, error) from error
        if differing:
            raise DataError(f"{path}: {differing}; restore the shard, or the store's description")
        return opened

    def keys(self) -> tuple[str, ...]:
        """Give the keys of its pictures, in the order they were written.

        Raises:
            DataError: They cannot be read.
        """
        try:
            keys = json.loads(self.arrays["keys"].tobytes())
            if len(keys) != len(self.sizes) or not all(isinstance(key, str) for key in keys):
                raise ValueError(f"expected {len(self.sizes)} keys")
        except _DAMAGED as error:
            raise _damaged(self.path, error) from error
        return tuple(keys)

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


def _misshapen(arrays: Arrays, of_features: Layout) -> str | None:
    """Tell which array is not what it should be; None = all are."""
    offsets = arrays["offsets"]
    if offsets.dtype != np.int64 or offsets.ndim != 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise ValueError("the offsets do not ascend from 0")
    rows, pictures = int(offsets[-1]), len(offsets) - 1
    expected = [(rows, of_features), (rows, _OF_REGIONS), (pictures, _OF_PICTURES)]
    for count, layout in expected:
        for name, (dtype, behind) in layout.items():
            found, wanted = arrays[name], np.dtype(dtype)
            if found.dtype != wanted or found.shape != (count, *behind):
                got = f"{found.dtype} {list(found.shape)}"
                return f"{name} are {got}, the store keeps {wanted} {[count, *behind]}"
    return None


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: the shard is damaged or cut short ({error}); restore it")


def _mapped(path: Path) -> tuple[Mapping[str, Any], dict[str, NDArray[Any]]]:
    """Map each array of a safetensors file: 8 bytes of length, a JSON header, then the arrays; metadata first."""
    content = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8).numpy()
    (length,) = _LENGTH.unpack(content[: _LENGTH.size].tobytes())
    begin = _LENGTH.size + length
    header = json.loads(content[_LENGTH.size : begin].tobytes())
    metadata = header.pop(_METADATA, {})
    return metadata, {name: _array(content[begin:], entry) for name, entry in header.items()}


def _array(content: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[Any]:
    first, last = entry["data_offsets"]
    return content[first:last].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
