"""One picture of somebody else's features: its key, and its regions once somebody asks for them.

Shapes: R regions · F feature width. Boxes XYXY in pixels of the picture.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from twelve.errors import DataError
from twelve.features import UNKNOWN_LABEL, RegionSet

CORNERS = 4

LONGEST_SIDE = 2**31 - 1
"""Of a picture, in a shard's int32."""

SCORE = 1.0
"""Of every region: the layouts keep none, or (per-picture files) those of other regions than they stand beside."""


@dataclass(frozen=True)
class Entry:
    """One picture that a source lists.

    Attributes:
        key: What the source calls it.
        bytes: It takes in the source, to tell how far an import is.
        read: Gives its regions; raises DataError, naming the key, where they are damaged. Works until the next entry.
    """

    key: str
    bytes: int
    read: Callable[[], RegionSet]


class Source(Protocol):
    """Features in somebody else's layout."""

    @property
    def path(self) -> Path:
        """Where they lie."""
        ...

    @property
    def bytes(self) -> int:
        """Of all entries, more or less."""
        ...

    def entries(self) -> Iterator[Entry]:
        """List the pictures; entries that cannot be read are listed as well."""
        ...


@dataclass(frozen=True)
class Names:
    """What a layout calls the fields that matter; it has others, which are passed over."""

    features: str
    boxes: str
    width: str
    height: str
    key: str = "image_id"


def regions_of(fields: Mapping[Any, Any], names: Names, *, key: str) -> RegionSet:
    """Make regions of the fields of one picture.

    Args:
        fields: As they were read.
        names: Of the fields.
        key: The key that they were found under.

    Returns:
        The regions; every number as it was published, boxes that leave the picture too.

    Raises:
        DataError: A field is missing, or is not what it should be; names key and field.
    """
    missing = [name for name in (names.features, names.boxes, names.width, names.height) if name not in fields]
    if missing:
        raise DataError(f"{key}: lacks {', '.join(missing)}; got {', '.join(map(_named, fields)) or 'no field'}")
    stated = fields.get(names.key, key)
    if not isinstance(stated, str | int) or stated not in (key, int(key) if key.isdecimal() else key):
        raise DataError(f"{key}: {names.key} is {_shown(stated)}; the entry stands under another picture's key")
    features = _floats(fields, names.features, key=key)
    rows = len(features)
    if not rows:
        raise DataError(f"{key}: {names.features} holds no region, expected at least one")
    boxes = _floats(fields, names.boxes, key=key)
    if tuple(boxes.shape) != (rows, CORNERS):
        raise DataError(
            f"{key}: {names.boxes} has shape {list(boxes.shape)}, expected {[rows, CORNERS]}, a box a region"
        )
    return RegionSet(
        features=features,
        boxes_px=boxes,
        scores=torch.full((rows,), SCORE),
        labels=torch.full((rows,), UNKNOWN_LABEL),
        width=_pixels(fields, names.width, key=key),
        height=_pixels(fields, names.height, key=key),
    )


def _floats(fields: Mapping[Any, Any], name: str, *, key: str) -> Tensor:
    array = fields[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != 2:
        raise DataError(f"{key}: {name} is {_described(array)}, expected a table of floats")
    with np.errstate(over="ignore"):  # what became infinite is refused by the store, with a sentence
        return torch.from_numpy(array.astype(np.float32, order="C"))


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {list(value.shape)}"
    return f"a {type(value).__name__}"


def _pixels(fields: Mapping[Any, Any], name: str, *, key: str) -> int:
    value = fields[name]
    if not isinstance(value, int | float) or not 1 <= value <= LONGEST_SIDE or value != int(value):
        raise DataError(f"{key}: {name} is {_shown(value)}, expected a count of pixels")
    return int(value)


def _named(field: object) -> str:
    return field if isinstance(field, str) else _shown(field)


def _shown(value: object) -> str:
    """Give what a value looks like; a hostile one is too long or too deep to be shown."""
    try:
        return f"{value!r:.60}"
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"
