"""The region extractor's operators in ONNX, for the exporter of torch, which knows them by name and shape only.

Shapes: N pictures · P boxes of a picture · K kept · C classes or channels · S bins a side · M pairs of box and class
        L levels. The detectors' graphs see one picture at a time, and but for `best_scores` so do all of these.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxscript
import torch

from twelve.regions import ops
from twelve.regions.ops.suppression import BELOW

op: Any = onnxscript.opset20
"""Untyped: its annotations allow none of the values that its own functions give."""

ALL = 1 << 30
"""Of the boxes of a class: as good as no bound."""

ALIGNMENTS = {True: "half_pixel", False: "output_half_pixel"}
"""RoiAlign's words for `half_pixel`, of opset 16 and later; the legacy minimum of a cell is part of the second."""


def _nms(boxes: Any, scores: Any, overlap: float, keep: int, offset: float) -> tuple[Any, Any]:
    """Write `ops.nms` of one picture in ONNX: [1, P, 4] and [1, P] to [1, K] and [1, K]."""
    by_class = op.Unsqueeze(scores, op.Constant(value_ints=[1]))  # [1, 1, P]
    most, threshold = op.Constant(value_ints=[keep]), op.Constant(value_floats=[overlap])
    selected = op.NonMaxSuppression(_widened(boxes, offset), by_class, most, threshold)  # [k, 3]: picture, class, box
    index = op.Gather(selected, op.Constant(value_int=2), axis=1)  # [k]
    found = op.Shape(index)
    missing = op.Concat(op.Constant(value_ints=[0]), op.Sub(most, found), axis=0)
    chosen = op.Reshape(op.Pad(index, missing), op.Constant(value_ints=[1, keep]))
    valid = op.Less(op.Constant(value_ints=list(range(keep))), found)
    return chosen, op.Unsqueeze(valid, op.Constant(value_ints=[0]))


def _best_scores(boxes: Any, scores: Any, overlap: float, floor: float) -> Any:
    """Write `ops.best_scores` in ONNX: [N, P, 4] and [N, P, C] to [N, P]."""
    pairs = _surviving_pairs(boxes, scores, overlap, op.Constant(value_floats=[floor]))
    values = op.GatherND(scores, pairs)  # [M]
    places = op.Gather(pairs, op.Constant(value_ints=[0, 1]), axis=1)  # [M, 2]
    return op.ScatterND(op.ConstantOfShape(op.Shape(scores, end=2)), places, values, reduction="max")


def _best_classes(boxes: Any, scores: Any, overlap: float, most: int, offset: float) -> tuple[Any, Any]:
    """Write `ops.best_classes` of one picture in ONNX: [1, P, 4] and [1, P, C] to [1, P] and [1, P]."""
    pairs = _surviving_pairs(_widened(boxes, offset), scores, overlap, _floor(scores, most))
    left = op.ScatterND(op.ConstantOfShape(op.Shape(scores)), pairs, op.GatherND(scores, pairs))  # [1, P, C]
    best = op.ReduceMax(left, op.Constant(value_ints=[2]), keepdims=0)
    return best, op.ArgMax(left, axis=2, keepdims=0)


def _floor(scores: Any, most: int) -> Any:
    """Write the floor of `ops.best_classes` in ONNX: [1, P, C] to [1]."""
    tops = op.ReduceMax(scores, op.Constant(value_ints=[1]), keepdims=0)  # [1, C]
    best = op.ArgMax(scores, axis=1, keepdims=0)
    bounds = op.ScatterElements(op.ConstantOfShape(op.Shape(scores, end=2)), best, tops, axis=1, reduction="max")
    wanted = op.Min(op.Constant(value_ints=[most]), op.Shape(scores, start=1, end=2))
    largest, _ = op.TopK(bounds, wanted, axis=1)
    last = op.ReduceMin(largest, op.Constant(value_ints=[1]), keepdims=0)
    return op.Mul(last, op.Constant(value_floats=[BELOW]))


def _surviving_pairs(boxes: Any, scores: Any, overlap: float, floor: Any) -> Any:
    """Give the pairs above a floor [1] that survive within their class, [M, 3]: picture, box, class."""
    by_class = op.Transpose(scores, perm=[0, 2, 1])  # [N, C, P]
    limits = (op.Constant(value_ints=[ALL]), op.Constant(value_floats=[overlap]), floor)
    selected = op.NonMaxSuppression(boxes, by_class, *limits)  # [M, 3]: picture, class, box
    return op.Gather(selected, op.Constant(value_ints=[0, 2, 1]), axis=1)


def _widened(boxes: Any, offset: float) -> Any:
    """Move the far corners by the offset: NonMaxSuppression knows no other width than the corners' distance."""
    return op.Add(boxes, op.Constant(value_floats=[0.0, 0.0, offset, offset])) if offset else boxes


def _roi_align(features: Any, boxes: Any, scale: float, size: int, samples: int, half_pixel: bool) -> Any:
    """Write `ops.roi_align` of one picture in ONNX: [1, C, h, w] and [1, P, 4] to [1, P, C, S, S]."""
    first = op.Constant(value_ints=[0])
    pooled = _aligned(features, op.Squeeze(boxes, first), scale, size, samples, half_pixel)
    return op.Unsqueeze(pooled, first)


def _roi_align_levels(
    maps: Sequence[Any],
    boxes: Any,
    scales: Sequence[float],
    levels: Any,
    size: int,
    samples: int,
    half_pixel: bool,
) -> Any:
    """Write `ops.roi_align_levels` of one picture in ONNX: [1, P, 4] and [1, P] to [1, P, C, S, S]."""
    first = op.Constant(value_ints=[0])
    boxes, levels = op.Squeeze(boxes, first), op.Squeeze(levels, first)  # [P, 4], [P]
    rows = [_where(op.Equal(levels, op.Constant(value_int=level))) for level in range(len(maps))]
    pooled = [
        _aligned(features, op.Gather(boxes, own), scale, size, samples, half_pixel)
        for features, scale, own in zip(maps, scales, rows, strict=True)
    ]
    by_level = op.Concat(*rows, axis=0)  # [P], each box's place once
    count = op.Shape(by_level)
    ascending = op.Range(op.Constant(value_int=0), op.Squeeze(count), op.Constant(value_int=1))
    places = op.ScatterElements(by_level, by_level, ascending)  # [P]: where each box stands among the levels'
    return op.Unsqueeze(op.Gather(op.Concat(*pooled, axis=0), places), first)


def _where(marks: Any) -> Any:
    return op.Squeeze(op.NonZero(marks), op.Constant(value_ints=[0]))


def _aligned(features: Any, rows: Any, scale: float, size: int, samples: int, half_pixel: bool) -> Any:
    """Write RoiAlign of boxes [P, 4] on one picture's map: [P, C, S, S]."""
    return op.RoiAlign(
        features,
        rows,
        op.Expand(op.Constant(value_ints=[0]), op.Shape(rows, end=1)),  # [P], all of the first picture
        coordinate_transformation_mode=ALIGNMENTS[half_pixel],
        mode="avg",
        output_height=size,
        output_width=size,
        sampling_ratio=samples,
        spatial_scale=scale,
    )


def _roi_pool(features: Any, boxes: Any, scale: float, size: int) -> Any:
    """Write `ops.roi_pool` of one picture in ONNX: [1, C, h, w] and [1, P, 4] to [1, P, C, S, S]."""
    first = op.Constant(value_ints=[0])
    before = op.Constant(value_ints=[0, 1, 0, 0])
    rows = op.Pad(op.Squeeze(boxes, first), before)  # [P, 5]: the first picture's number, 0, before the corners
    return op.Unsqueeze(op.MaxRoiPool(features, rows, pooled_shape=[size, size], spatial_scale=scale), first)


_operators = getattr(torch.ops, ops.NAMESPACE)

TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    _operators.nms.default: _nms,
    _operators.best_scores.default: _best_scores,
    _operators.best_classes.default: _best_classes,
    _operators.roi_align.default: _roi_align,
    _operators.roi_align_levels.default: _roi_align_levels,
    _operators.roi_pool.default: _roi_pool,
}
"""The detectors' operators in ONNX, of opset 18 or later: `reduction="max"` is no older."""
