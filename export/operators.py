"""The region extractor's operators in ONNX, for the exporter of torch, which knows them by name and shape only.

Shapes: N pictures · P boxes of a picture · K kept · C classes or channels · S bins a side · M pairs of box and class.
"""

from collections.abc import Callable, Mapping
from typing import Any

import onnxscript
import torch

from twelve.regions import ops

op: Any = onnxscript.opset20
"""Untyped: its annotations allow none of the values that its own functions give."""

ALL = 1 << 30
"""Of the boxes of a class: as good as no bound."""


def _nms(boxes: Any, scores: Any, overlap: float, keep: int) -> tuple[Any, Any]:
    """Write `ops.nms` of one picture in ONNX: [1, P, 4] and [1, P] to [1, K] and [1, K]."""
    by_class = op.Unsqueeze(scores, op.Constant(value_ints=[1]))  # [1, 1, P]
    most, threshold = op.Constant(value_ints=[keep]), op.Constant(value_floats=[overlap])
    selected = op.NonMaxSuppression(boxes, by_class, most, threshold)  # [k, 3]: picture, class, box
    index = op.Gather(selected, op.Constant(value_int=2), axis=1)  # [k]
    found = op.Shape(index)
    missing = op.Concat(op.Constant(value_ints=[0]), op.Sub(most, found), axis=0)
    chosen = op.Reshape(op.Pad(index, missing), op.Constant(value_ints=[1, keep]))
    valid = op.Less(op.Constant(value_ints=list(range(keep))), found)
    return chosen, op.Unsqueeze(valid, op.Constant(value_ints=[0]))


def _best_scores(boxes: Any, scores: Any, overlap: float, floor: float) -> Any:
    """Write `ops.best_scores` in ONNX: [N, P, 4] and [N, P, C] to [N, P]."""
    by_class = op.Transpose(scores, perm=[0, 2, 1])  # [N, C, P]
    limits = (op.Constant(value_ints=[ALL]), op.Constant(value_floats=[overlap]), op.Constant(value_floats=[floor]))
    selected = op.NonMaxSuppression(boxes, by_class, *limits)  # [M, 3]: picture, class, box
    values = op.GatherND(scores, op.Gather(selected, op.Constant(value_ints=[0, 2, 1]), axis=1))  # [M]
    places = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)  # [M, 2]
    return op.ScatterND(op.ConstantOfShape(op.Shape(scores, end=2)), places, values, reduction="max")


def _roi_align(features: Any, boxes: Any, scale: float, size: int, samples: int) -> Any:
    """Write `ops.roi_align` of one picture in ONNX: [1, C, h, w] and [1, P, 4] to [1, P, C, S, S]."""
    first = op.Constant(value_ints=[0])
    rows = op.Squeeze(boxes, first)  # [P, 4]
    pictures = op.Expand(first, op.Shape(rows, end=1))  # [P], all the first
    pooled = op.RoiAlign(
        features,
        rows,
        pictures,
        coordinate_transformation_mode="half_pixel",
        mode="avg",
        output_height=size,
        output_width=size,
        sampling_ratio=samples,
        spatial_scale=scale,
    )
    return op.Unsqueeze(pooled, first)


_operators = getattr(torch.ops, ops.NAMESPACE)

TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    _operators.nms.default: _nms,
    _operators.best_scores.default: _best_scores,
    _operators.roi_align.default: _roi_align,
}
"""The detector's operators in ONNX. Its graph sees one picture at a time, and so do the first and the last."""
