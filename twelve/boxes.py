"""Boxes: pixels on one side, the model's 5-number location on the other. The only place that scales.

Shapes: R regions · K boxes of a second set. A box is XYXY in pixels of the upright picture, corner-exclusive.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

GLOBAL_REGION = 0
"""The row of the global region, which stands before all detected ones (12-in-1, section 3)."""

LOCATION_WIDTH = 5
"""x1/W, y1/H, x2/W, y2/H, area/(W*H)."""


def clip(boxes_px: Tensor, *, height: int, width: int) -> Tensor:
    """Cut boxes at the picture's edges.

    Args:
        boxes_px: [R, 4] XYXY, pixels.
        height: Of the picture, pixels.
        width: Likewise.

    Returns:
        [R, 4]; a box that lies outside becomes empty.
    """
    limit = boxes_px.new_tensor([width, height, width, height])
    return torch.minimum(boxes_px.clamp(min=0), limit)


def locations(boxes_px: Tensor, *, height: int, width: int) -> Tensor:
    """Describe each box by its corners and area, relative to its picture.

    Args:
        boxes_px: [R, 4] XYXY, pixels.
        height: Of the picture the boxes lie in, pixels.
        width: Likewise.

    Returns:
        [R, 5] float32 in [0, 1]: x1/W, y1/H, x2/W, y2/H, area/(W*H).

    Raises:
        ValueError: A box is empty after clipping to the picture; names its index and numbers.

    Source: ViLBERT (arXiv:1908.02265), section 3, "image representations".
    Differs: boxes are clipped to the picture; the published code never clips.
    """
    clipped = clip(boxes_px.float(), height=height, width=width)
    sides = clipped[:, 2:] - clipped[:, :2]  # [R, 2]
    empty = (sides <= 0).any(dim=1).nonzero().flatten().tolist()
    if empty:
        numbers = [round(value, 2) for value in boxes_px[empty[0]].tolist()]
        raise ValueError(
            f"box {empty[0]} is empty inside the {width}x{height} picture: got {numbers}, "
            "needs [x1, y1, x2, y2] with x1 < x2 and y1 < y2"
        )
    scale = clipped.new_tensor([width, height, width, height])
    area = sides.prod(dim=1, keepdim=True) / (width * height)
    return torch.cat([clipped / scale, area], dim=1)  # [R, 5]


def global_location() -> Tensor:
    """Give the location of the whole picture, [1, 5]: (0, 0, 1, 1, 1)."""
    return torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0]])


def areas(boxes_px: Tensor) -> Tensor:
    """Give each box's area in square pixels, [R]; an inverted box has area 0."""
    return (boxes_px[:, 2:] - boxes_px[:, :2]).clamp(min=0).prod(dim=1)


def overlaps(boxes_px: Tensor, others_px: Tensor) -> Tensor:
    """Give the intersection over union of each pair.

    Args:
        boxes_px: [R, 4] XYXY.
        others_px: [K, 4] XYXY.

    Returns:
        [R, K] in [0, 1]; 0 where both boxes are empty.

    Differs: corners are exclusive; the published code counts inclusive pixels (+1).
    """
    upper_left = torch.maximum(boxes_px[:, None, :2], others_px[None, :, :2])  # [R, K, 2]
    lower_right = torch.minimum(boxes_px[:, None, 2:], others_px[None, :, 2:])  # [R, K, 2]
    shared = (lower_right - upper_left).clamp(min=0).prod(dim=2)  # [R, K]
    union = areas(boxes_px)[:, None] + areas(others_px)[None] - shared
    return shared / union.clamp(min=1e-9)


def from_xywh(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Turn COCO's [x, y, width, height] into XYXY."""
    x, y, width, height = box
    return (x, y, x + width, y + height)
