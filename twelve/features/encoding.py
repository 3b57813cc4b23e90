"""How features lie on disk: float32 -> the arrays of a shard, and back. A new encoding is a new entry of ENCODINGS.

Shapes: N regions of a whole shard · F feature width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Mapping[str, NDArray[Any]]
"""By name. Numpy slices a map five times faster than torch; torch rounds to float16 and back ten times faster."""

LEVELS = 255
"""Steps between the lowest and the highest number that a byte can tell apart."""

SMALLEST_STEP = torch.finfo(torch.float32).tiny
"""Divides in place of a step of 0, that of a region whose numbers are all the same."""


Layout = Mapping[str, tuple[type[np.generic], tuple[int, ...]]]
"""Of each array: the kind of its numbers, and its shape behind the first axis."""


class Encoding(Protocol):
    """Turns features into named arrays whose first axis is the region, and a run of regions back into features."""

    def layout(self, width: int) -> Layout:
        """Tell what `encode` makes of features so wide."""
        ...

    def encode(self, features: Tensor) -> Arrays:
        """Give the arrays, each [N, …], that stand for [N, F] float32 features."""
        ...

    def decode(self, arrays: Arrays, rows: slice) -> Tensor:
        """Give the features of some rows, [rows, F] float32; the caller may write to them."""
        ...


@dataclass(frozen=True)
class Float:
    """Features as floats of a width. Rounds to nearest; a number beyond the range becomes infinite."""

    dtype: torch.dtype
    kept: type[np.generic]

    def layout(self, width: int) -> Layout:
        """See `Encoding.layout`."""
        return {"features": (self.kept, (width,))}

    def encode(self, features: Tensor) -> Arrays:
        """See `Encoding.encode`."""
        return {"features": features.to(self.dtype).numpy()}

    def decode(self, arrays: Arrays, rows: slice) -> Tensor:
        """See `Encoding.decode`."""
        return torch.from_numpy(arrays["features"][rows]).to(torch.float32, copy=True)


@dataclass(frozen=True)
class Byte:
    """Each feature as one of 256 levels between the lowest and the highest number of its own region.

    No region shares a scale with another, so what is kept of a picture never depends on its neighbours.
    """

    def layout(self, width: int) -> Layout:
        """See `Encoding.layout`."""
        return {"features": (np.uint8, (width,)), "lowest": (np.float32, (1,)), "step": (np.float32, (1,))}

    def encode(self, features: Tensor) -> Arrays:
        """See `Encoding.encode`."""
        lowest = features.amin(dim=1, keepdim=True)  # [N, 1]
        step = (features.amax(dim=1, keepdim=True) - lowest) / LEVELS
        levels = ((features - lowest) / step.clamp(min=SMALLEST_STEP)).round().clamp(0, LEVELS)
        return {"features": levels.to(torch.uint8).numpy(), "lowest": lowest.numpy(), "step": step.numpy()}

    def decode(self, arrays: Arrays, rows: slice) -> Tensor:
        """See `Encoding.decode`."""
        levels, lowest, step = (torch.from_numpy(arrays[name][rows]) for name in ("features", "lowest", "step"))
        return levels.float().mul_(step).add_(lowest)


HALF = "float16"
"""Rounds each number by at most 1 part in 2048 of itself, or by 2^-25 where that is more; range ± 65504."""

SINGLE = "float32"
"""Changes nothing, at twice the size."""

INT8 = "int8"
"""Rounds each number by at most 1/510 of the spread (highest minus lowest) of its region, at half the size of HALF, and
by a millionth (2^-20) of the region's largest number, sign aside: six roundings in float32, none above 2^-24 of twice
that number. Where the spread is below LEVELS * SMALLEST_STEP, 3e-36, it is off by up to the spread.
Zeros stay zeros where a region has no negative number, as those of a detector that ends in a ReLU."""

ENCODINGS: Mapping[str, Encoding] = {
    HALF: Float(torch.float16, np.float16),
    SINGLE: Float(torch.float32, np.float32),
    INT8: Byte(),
}
