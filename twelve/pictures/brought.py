"""What a caller brings along: boxes, and regions in place of a picture.

Shapes: R regions · F feature width · G given boxes. Boxes XYXY in pixels of the upright picture.
"""

from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import Tensor

from twelve.boxes import areas, clip
from twelve.errors import InvalidField
from twelve.regions.cache import Boxes
from twelve.regions.extractor import UNKNOWN_LABEL, RegionSet
from twelve.schema import BroughtRegions

SAME_BOX_PX = 1.0
"""How far a candidate may lie from the brought box that it means, on each side (the HTTP contract)."""

FLOAT_BYTES = 4

LARGEST_FEATURE = 65504.0
"""Of a brought-along feature: what float16 holds, as feature stores do. Greater ones drown the model in infinities."""


def brought(regions: BroughtRegions, *, feature_width: int, at: str) -> RegionSet:
    """Read regions that the caller found.

    Args:
        regions: As sent.
        feature_width: F of the model.
        at: The field's path, for errors.

    Returns:
        The region set; scores are 1, labels unknown.

    Raises:
        InvalidField: The features are not n x F finite numbers, or a box is empty inside the picture.
    """
    count, needed = len(regions.boxes), len(regions.boxes) * feature_width * FLOAT_BYTES
    if len(regions.features) != needed:
        raise InvalidField(
            f"{at}.regions.features: {count} boxes need float32 [{count}, {feature_width}], which is {needed} bytes, "
            f"got {len(regions.features)}",
            at=f"{at}.regions.features",
        )
    features = torch.frombuffer(bytearray(regions.features), dtype=torch.float32).reshape(count, feature_width)
    if not bool((features.abs() <= LARGEST_FEATURE).all()):  # NaN compares as false
        raise InvalidField(
            f"{at}.regions.features: must be finite numbers up to {LARGEST_FEATURE:g}", at=f"{at}.regions.features"
        )
    boxes = inside(regions.boxes, height=regions.height, width=regions.width, at=f"{at}.regions.boxes")
    assert boxes is not None  # the schema asks for at least one
    labels = torch.full((count,), UNKNOWN_LABEL)
    return RegionSet(features, boxes, torch.ones(count), labels, width=regions.width, height=regions.height)


def inside(boxes_px: Boxes, *, height: int, width: int, at: str = "boxes") -> Tensor | None:
    """Clip the caller's boxes to the picture.

    Args:
        boxes_px: As they were given.
        height: Of the picture.
        width: Likewise.
        at: The field's path, for errors.

    Returns:
        [G, 4]; None where there are none.

    Raises:
        InvalidField: A box lies outside.
    """
    if not boxes_px:
        return None
    clipped = clip(torch.tensor(boxes_px, dtype=torch.float32), height=height, width=width)
    outside = (areas(clipped) <= 0).nonzero().flatten().tolist()
    if outside:
        place = outside[0]
        raise InvalidField(
            f"{at}[{place}]: lies outside the {width}x{height} picture, got {list(boxes_px[place])}",
            at=f"{at}[{place}]",
        )
    return clipped


def same_box(regions: RegionSet, place: int, box: tuple[float, float, float, float]) -> int:
    """Find the region that a candidate means.

    Args:
        regions: Brought along.
        place: Of the candidate in the request.
        box: The candidate.

    Returns:
        The region's row.

    Raises:
        InvalidField: None of the boxes is as near as SAME_BOX_PX.
    """
    distance = (regions.boxes_px - torch.tensor(box)).abs().amax(dim=1)  # [R]
    nearest = (
        len(distance) - 1 - int(distance.flip(0).argmin())
    )  # of equal boxes the last, which is the candidate's own
    if float(distance[nearest]) > SAME_BOX_PX:
        raise InvalidField(
            f"boxes[{place}]: none of the boxes brought along lies within {SAME_BOX_PX:g} px of {list(box)}; "
            "with regions, each candidate is one of their boxes",
            at=f"boxes[{place}]",
        )
    return nearest


def last_rows(rows: Sequence[int], count: int) -> int:
    """Count how many of the last of so many rows are among the given ones, without a gap."""
    tail = takewhile(set(rows).__contains__, reversed(range(count)))
    return sum(1 for _ in tail)
