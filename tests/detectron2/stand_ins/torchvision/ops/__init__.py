"""NMS and RoIAlign under the names, signatures and ONNX forms of the real package."""

import torch
from torch import Tensor, nn
from torch.onnx import register_custom_op_symbolic, symbolic_helper

from . import boxes as boxes
from . import kernels

FIRST_ALIGNED_OPSET = 16
"""Of ONNX: the first whose RoiAlign knows half pixels."""

_library = torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define(
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor"
)
# Asked late, for a benchmark puts faster ones in their place.
_library.impl("nms", lambda *arguments: kernels.survivors(*arguments), "CPU")
_library.impl("roi_align", lambda *arguments: kernels.align(*arguments), "CPU")


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Give the indices of the boxes that stay, best first."""
    return torch.ops.torchvision.nms(boxes, scores, iou_threshold)


def roi_align(
    input: Tensor,
    boxes: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Give the pooled boxes; each row of `boxes` is the number of its picture, then XYXY."""
    sides = (output_size[0], output_size[1])
    return torch.ops.torchvision.roi_align(input, boxes, spatial_scale, *sides, sampling_ratio, aligned)


class RoIPool(nn.Module):
    """A name that detectron2 imports; none of the networks here pools by it."""


def deform_conv2d(*arguments: Tensor) -> Tensor:
    """Refuse: a name that detectron2 imports; none of the networks here calls it."""
    raise NotImplementedError


@symbolic_helper.parse_args("v", "v", "f")
def _nms_in_onnx(graph, boxes, scores, overlap):
    """Write what the real package writes."""
    one = graph.op("Constant", value_t=torch.tensor([0]))
    two = graph.op("Constant", value_t=torch.tensor([0, 1]))
    most = graph.op("Constant", value_t=torch.tensor([torch.iinfo(torch.int64).max]))
    threshold = graph.op("Constant", value_t=torch.tensor([overlap]))
    by_class = graph.op("Unsqueeze", scores, two)
    chosen = graph.op("NonMaxSuppression", graph.op("Unsqueeze", boxes, one), by_class, most, threshold)
    column = graph.op("Constant", value_t=torch.tensor([2]))
    return graph.op(
        "Squeeze", graph.op("Gather", chosen, column, axis_i=1), graph.op("Constant", value_t=torch.tensor([1]))
    )


@symbolic_helper.parse_args("v", "v", "f", "i", "i", "i", "i")
def _align_in_onnx(graph, features, rois, scale, height, width, samples, aligned):
    """Write what the real package writes."""
    columns = graph.op("Constant", value_t=torch.tensor([1, 2, 3, 4]))
    boxes = graph.op("Gather", rois, columns, axis_i=1)
    first = graph.op("Gather", rois, graph.op("Constant", value_t=torch.tensor([0])), axis_i=1)
    one = graph.op("Constant", value_t=torch.tensor([1]))
    pictures = graph.op("Cast", graph.op("Squeeze", first, one), to_i=torch.onnx.TensorProtoDataType.INT64)
    return graph.op(
        "RoiAlign",
        features,
        boxes,
        pictures,
        coordinate_transformation_mode_s="half_pixel" if aligned else "output_half_pixel",
        spatial_scale_f=scale,
        output_height_i=height,
        output_width_i=width,
        sampling_ratio_i=max(samples, 0),
    )


register_custom_op_symbolic("torchvision::nms", _nms_in_onnx, FIRST_ALIGNED_OPSET)
register_custom_op_symbolic("torchvision::roi_align", _align_in_onnx, FIRST_ALIGNED_OPSET)
