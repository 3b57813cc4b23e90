"""Anchors and corrections of boxes, with the two notions of a box's width that detectors were trained by.

In old code a box from pixel 3 to pixel 5 is 3 wide: `offset` 1. In new code corners are points: `offset` 0.

Shapes: N pictures · P boxes of a picture · A anchors a cell · h, w cells.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from twelve.regions.backbone import anchor_shapes
from twelve.regions.coding import LARGEST_GROWTH


def decode(corrections: Tensor, references: Tensor, *, weights: Sequence[float], offset: float) -> Tensor:
    """Apply corrections [N, P, 4], divided by their weights, to their references.

    Source: maskrcnn_benchmark/modeling/box_coder.py, where the offset is TO_REMOVE; without it, `Box2BoxTransform` of
    detectron2/modeling/box_regression.py.
    """
    sides = references[..., 2:] - references[..., :2] + offset
    moves = corrections[..., :2] / corrections.new_tensor(weights[:2])
    growths = (corrections[..., 2:] / corrections.new_tensor(weights[2:])).clamp(max=LARGEST_GROWTH)
    center = references[..., :2] + sides / 2 + moves * sides
    half = growths.exp() * sides / 2
    return torch.cat([center - half, center + half - offset], dim=-1)


def clip(boxes: Tensor, *, height: int, width: int, offset: float) -> Tensor:
    """Cut boxes at the edges of their picture: at its last pixel where the offset is 1."""
    limits = (width - int(offset), height - int(offset)) * 2  # whole: exporters know sizes as whole numbers only
    return torch.stack([boxes[..., at].clamp(0, limit) for at, limit in enumerate(limits)], dim=-1)


def exact_anchors(sides: Sequence[float], ratios: Sequence[float], *, stride: int) -> Tensor:
    """Give boxes around the corner of a cell of each area and ratio, [A, 4], as detectron2 does."""
    del stride
    return anchor_shapes(sides, ratios)


def rounded_anchors(sides: Sequence[float], ratios: Sequence[float], *, stride: int) -> Tensor:
    """Give boxes around the centre of a cell whose sides were rounded at the size of one cell, [A, 4].

    Source: `generate_anchors` of Faster R-CNN (arXiv:1506.01497), as in maskrcnn_benchmark/modeling/rpn/
    anchor_generator.py. Its boxes are 3 wide from pixel 3 to 5, whatever the detector's offset.
    """
    center = (stride - 1) / 2
    widths = [round((stride**2 / ratio) ** 0.5) for ratio in ratios]
    shapes = [(width, round(width * ratio)) for width, ratio in zip(widths, ratios, strict=True)]
    reaches = [((x * side / stride - 1) / 2, (y * side / stride - 1) / 2) for x, y in shapes for side in sides]
    return torch.tensor([[center - x, center - y, center + x, center + y] for x, y in reaches])


ANCHORS = {False: exact_anchors, True: rounded_anchors}
"""By `RcnnConfig.rounded_anchors`."""


def over_map(shapes: Tensor, *, height: int, width: int, stride: int) -> Tensor:
    """Lay anchors over each cell of a map, [h * w * A, 4], cells row by row."""
    y = torch.arange(height, device=shapes.device, dtype=shapes.dtype) * stride
    x = torch.arange(width, device=shapes.device, dtype=shapes.dtype) * stride
    corners = torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)], dim=-1)  # [h, w, 2]
    return (corners.repeat(1, 1, 2)[:, :, None] + shapes).flatten(0, 2)  # [h, w, A, 4] before
