"""How features lie on disk: float32 -> the arrays of a shard, and back. A new encoding is a new entry of ENCODINGS.

Shapes: N regions of a whole shard · F feature width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

FloatArray = NDArray[np.float32]
Arrays = dict[str, NDArray[np.generic]]


class Encoding(Protocol):
    """Turns features into named arrays whose first axis is the region, and a run of regions back into features."""

    def encode(self, features: FloatArray) -> Arrays:
        """Give the arrays, each [N, …], that stand for [N, F] features."""
        ...

    def decode(self, arrays: Mapping[str, NDArray[np.generic]], rows: slice) -> FloatArray:
        """Give the features of some rows, [rows, F] float32; the caller may write to them."""
        ...


@dataclass(frozen=True)
class Float:
    """Features as floats of a width. Rounds to nearest; a number beyond the range becomes infinite."""

    dtype: DTypeLike

    def encode(self, features: FloatArray) -> Arrays:
        """See `Encoding.encode`."""
        with np.errstate(over="ignore"):  # what became infinite is refused by the store, with a sentence
            return {"features": features.astype(self.dtype)}

    def decode(self, arrays: Mapping[str, NDArray[np.generic]], rows: slice) -> FloatArray:
        """See `Encoding.decode`."""
        return arrays["features"][rows].astype(np.float32)


HALF = "float16"
"""Rounds each number by at most 1 part in 2048 of itself, or by 2^-25 where that is more; range ± 65504."""

SINGLE = "float32"
"""Changes nothing, at twice the size."""

ENCODINGS: Mapping[str, Encoding] = {HALF: Float(np.float16), SINGLE: Float(np.float32)}
