"""Boxes as corrections of other boxes (R-CNN, arXiv:1311.2524, appendix C), and back.

Shapes: N pictures · P boxes of a picture. Boxes XYXY in pixels; a correction is (dx, dy, dw, dh).
"""

import math

import torch
from torch import Tensor

CENTER_SPREAD, SIDE_SPREAD = 0.1, 0.2
"""Corrections are divided by these, so that a head has numbers of size 1 to give (Fast R-CNN, arXiv:1504.08083)."""

LARGEST_GROWTH = math.log(1000 / 16)
"""A correction may grow a side by no more: keeps exp from overflowing on a wild output."""


def encode(boxes: Tensor, references: Tensor) -> Tensor:
    """Give the corrections that turn each reference into its box, [N, P, 4]."""
    center, sides = _center_and_sides(boxes)
    start, extent = _center_and_sides(references)
    moves = (center - start) / extent / CENTER_SPREAD
    growths = torch.log(sides / extent) / SIDE_SPREAD
    return torch.cat([moves, growths], dim=-1)


def decode(corrections: Tensor, references: Tensor, *, height: int, width: int) -> Tensor:
    """Apply corrections to their references and cut the boxes at the picture's edges, [N, P, 4]."""
    start, extent = _center_and_sides(references)
    center = start + corrections[..., :2] * CENTER_SPREAD * extent
    sides = extent * (corrections[..., 2:] * SIDE_SPREAD).clamp(max=LARGEST_GROWTH).exp()
    first, last = center - sides / 2, center + sides / 2
    corners = (first[..., 0], first[..., 1], last[..., 0], last[..., 1])
    limits = (width, height, width, height)
    return torch.stack([corner.clamp(0, limit) for corner, limit in zip(corners, limits, strict=True)], dim=-1)


def _center_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    return boxes[..., :2] + sides / 2, sides
