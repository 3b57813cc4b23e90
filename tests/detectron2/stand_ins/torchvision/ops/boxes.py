"""NMS within groups, as detectron2 calls it."""

import torch
from torch import Tensor


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Give the indices of the boxes that stay, best first: only those of one group strike each other out.

    The real package moves each group to a place of its own in just this way when it is traced or the boxes are few.
    """
    step = boxes.max() + torch.tensor(1.0)
    apart = boxes + (idxs.to(boxes) * step)[:, None]
    return torch.ops.torchvision.nms(apart, scores, iou_threshold)
