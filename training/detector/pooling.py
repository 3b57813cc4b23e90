"""RoIAlign as one matrix product: the same numbers as `twelve.regions.ops.roi_align`, at a fifth of its training cost.

Every bin of a box is a weighted mean of cells, so all bins of all boxes are a matrix times the map. The matrix has as
many columns as the map has cells: right for the small maps of training, wrong for large ones.

Shapes: N pictures · P boxes of a picture · C channels · h, w cells · S bins a side
"""

import torch
from torch import Tensor

from twelve.regions.ops import SAMPLES


def roi_align_by_matrix(features: Tensor, boxes: Tensor, scale: float, size: int) -> Tensor:
    """Read boxes [N, P, 4] off maps [N, C, h, w]: [N, P, C, S, S]; see `roi_align`."""
    pictures, channels, height, width = features.shape
    cells = boxes * scale
    rows = _weights(cells[..., 1], cells[..., 3], size, count=height)  # [N, P, S, h]
    columns = _weights(cells[..., 0], cells[..., 2], size, count=width)  # [N, P, S, w]
    weights = rows[:, :, :, None, :, None] * columns[:, :, None, :, None, :]  # [N, P, S, S, h, w]
    flat = features.permute(0, 2, 3, 1).reshape(pictures, height * width, channels)
    bins = torch.bmm(weights.reshape(pictures, -1, height * width), flat)  # [N, P * S * S, C]
    return bins.view(pictures, -1, size, size, channels).permute(0, 1, 4, 2, 3)


def _weights(first: Tensor, last: Tensor, size: int, *, count: int) -> Tensor:
    """Give how much each bin between two edges takes of each of `count` cells in a line."""
    points = size * SAMPLES
    share = (torch.arange(points) + 0.5) / points
    at = first[..., None] + (last - first)[..., None] * share - 0.5  # [N, P, points], in cell centres
    distance = (at.clamp(0, count - 1)[..., None] - torch.arange(count)).abs()
    return (1 - distance).clamp(min=0).unflatten(2, (size, SAMPLES)).mean(dim=3)
