"""The three operations a detector needs that plain torch lacks: NMS, class-wise NMS and RoIAlign.

Each takes one of three ways, and the caller need not know which: eager runs the Python below; a TorchScript trace gets
the same code scripted, because its loop depends on the data; `torch.export` meets an opaque operator of the library
`twelve_regions` with shapes known beforehand, which the ONNX exporter maps to NonMaxSuppression and RoiAlign.

Shapes: N pictures · P boxes of a picture · K boxes kept · C classes or channels · S bins a side
        M pairs of box and class.
Boxes XYXY, corner-exclusive. All sizes of results are fixed: what is missing is marked invalid, never cut off.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

NAMESPACE = "twelve_regions"
"""Of the operators that an exported graph shows: `nms`, `best_scores`, `roi_align`."""

SAMPLES = 2
"""Samples a bin side of RoIAlign. Fixed, as 12-in-1's extractor had it: an adaptive count would depend on the data."""


def nms(boxes: Tensor, scores: Tensor, overlap: float, keep: int) -> tuple[Tensor, Tensor]:
    """Keep the best boxes of which no two overlap: exact greedy non-maximum suppression.

    Args:
        boxes: [N, P, 4].
        scores: [N, P]; of equal scores the first stands higher.
        overlap: A box is struck out by a better kept one that overlaps it by more than this.
        keep: K, at most P.

    Returns:
        Which boxes, [N, K] int64, best first; and which of these rows are valid, [N, K] bool.
    """
    chosen = _way(_nms, _nms_operator)(boxes, scores, overlap, keep)
    return cast(tuple[Tensor, Tensor], chosen)


def best_scores(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    """Give each box the best of its class scores that survives non-maximum suppression within its class.

    Pairs of box and class at or below `floor` take no part. That changes nothing above the floor: a pair is only ever
    struck out by a better one.

    Args:
        boxes: [N, P, 4].
        scores: [N, P, C], background left out.
        overlap: As in `nms`.
        floor: Least score.

    Returns:
        [N, P]; 0 where no class survives.
    """
    return cast(Tensor, _way(_best_scores, _best_scores_operator)(boxes, scores, overlap, floor))


def roi_align(features: Tensor, boxes: Tensor, scale: float, size: int) -> Tensor:
    """Read each box off its picture's feature map: the mean of bilinear samples in each of size x size bins.

    Args:
        features: [N, C, h, w].
        boxes: [N, P, 4] in pixels of the picture, inside it.
        scale: Feature cells a pixel.
        size: S.

    Returns:
        [N, P, C, S, S].

    Source: Mask R-CNN (arXiv:1703.06870), section 3, with samples aligned to the centres of the cells.
    """
    return cast(Tensor, _way(_roi_align, _roi_align_operator)(features, boxes, scale, size, SAMPLES))


def intersection_over_union(boxes: Tensor) -> Tensor:
    """Give the overlap of each pair of one picture's boxes: [N, P, 4] -> [N, P, P]; 0 where both are empty."""
    upper_left = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])  # [N, P, P, 2]
    lower_right = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (lower_right - upper_left).clamp(min=0.0)
    shared = sides[..., 0] * sides[..., 1]  # [N, P, P]
    areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])  # [N, P]
    return shared / (areas[:, :, None] + areas[:, None, :] - shared).clamp(min=1e-9)


def _way(plain: Callable[..., Any], operator: Callable[..., Any]) -> Callable[..., Any]:
    if torch.compiler.is_exporting():
        return operator
    return _scripted(plain) if _is_traced() else plain


def _is_traced() -> bool:
    return cast(bool, torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


@cache
def _scripted(plain: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], torch.jit.script(plain))


def _nms(boxes: Tensor, scores: Tensor, overlap: float, keep: int) -> tuple[Tensor, Tensor]:
    order = torch.sort(scores, stable=True, dim=1, descending=True)[1]  # [N, P]
    ranked = boxes.gather(1, order[:, :, None].expand(-1, -1, 4))
    kept = _survivors(torch.triu(intersection_over_union(ranked) > overlap, diagonal=1))  # [N, P]
    front = torch.sort((~kept).long(), stable=True, dim=1)[1][:, :keep]  # kept ones first, in their order
    return order.gather(1, front), kept.gather(1, front)


def _best_scores(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    best = torch.zeros_like(scores[:, :, 0])  # [N, P]
    pairs = (scores > floor).nonzero()  # [M, 3]: picture, box, class
    if pairs.size(0) == 0:
        return best
    values = scores[pairs[:, 0], pairs[:, 1], pairs[:, 2]]  # [M]
    order = torch.sort(values, stable=True, dim=0, descending=True)[1]
    values, picture, box, label = values[order], pairs[order, 0], pairs[order, 1], pairs[order, 2]
    rivals = (picture[:, None] == picture[None]) & (label[:, None] == label[None])  # [M, M]
    near = (intersection_over_union(boxes) > overlap)[picture[:, None], box[:, None], box[None]]
    kept = _survivors(torch.triu(rivals & near, diagonal=1)[None])[0]  # [M]
    flat = best.flatten().scatter_reduce(0, (picture * boxes.size(1) + box)[kept], values[kept], "amax")
    return flat.view_as(best)


def _survivors(strikes: Tensor) -> Tensor:
    """Settle who is left, [N, P] bool, where [n, i, j] says that i, if it stays, strikes out j, which ranks below it.

    Asked again and again who is struck by someone that stays, the answer is right for one more rank each time, and so
    settles on what the greedy loop over boxes gives; in practice after three to six rounds.
    """
    weights = strikes.float()
    stays = torch.ones_like(weights[:, :1])  # [N, 1, P]
    settled = False
    while not settled:
        renewed = (torch.matmul(stays, weights) < 0.5).float()
        settled = torch.equal(renewed, stays)
        stays = renewed
    return stays[:, 0] > 0.5


def _roi_align(features: Tensor, boxes: Tensor, scale: float, size: int, samples: int) -> Tensor:
    pictures, channels, height, width = features.shape
    count, points = boxes.size(1), size * samples
    at = (torch.arange(points, dtype=features.dtype, device=features.device) + 0.5) / points
    cells = boxes.to(features.dtype) * scale
    x = cells[..., 0:1] + (cells[..., 2:3] - cells[..., 0:1]) * at  # [N, P, points]
    y = cells[..., 1:2] + (cells[..., 3:4] - cells[..., 1:2]) * at
    columns = (x * 2 / width - 1)[:, :, None, :].expand(-1, -1, points, -1)
    rows = (y * 2 / height - 1)[:, :, :, None].expand(-1, -1, -1, points)
    grid = torch.stack([columns, rows], dim=-1).reshape(pictures, count * points, points, 2)
    read = F.grid_sample(features, grid, mode="bilinear", padding_mode="border", align_corners=False)
    bins = F.avg_pool2d(read, samples)  # [N, C, P * S, S]
    return bins.view(pictures, channels, count, size, size).transpose(1, 2)  # [N, P, C, S, S]


@torch.library.custom_op(f"{NAMESPACE}::nms", mutates_args=())
def _nms_operator(boxes: Tensor, scores: Tensor, overlap: float, keep: int) -> tuple[Tensor, Tensor]:
    return _nms(boxes, scores, overlap, keep)


@_nms_operator.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, keep: int) -> tuple[Tensor, Tensor]:
    size = (boxes.shape[0], keep)
    return boxes.new_empty(size, dtype=torch.long), boxes.new_empty(size, dtype=torch.bool)


@torch.library.custom_op(f"{NAMESPACE}::best_scores", mutates_args=())
def _best_scores_operator(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    return _best_scores(boxes, scores, overlap, floor)


@_best_scores_operator.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    return scores.new_empty(scores.shape[:2])


@torch.library.custom_op(f"{NAMESPACE}::roi_align", mutates_args=())
def _roi_align_operator(features: Tensor, boxes: Tensor, scale: float, size: int, samples: int) -> Tensor:
    return _roi_align(features, boxes, scale, size, samples).contiguous()


@_roi_align_operator.register_fake
def _(features: Tensor, boxes: Tensor, scale: float, size: int, samples: int) -> Tensor:
    return features.new_empty(boxes.shape[0], boxes.shape[1], features.shape[1], size, size)
