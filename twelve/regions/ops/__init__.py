"""The operations a detector needs that plain torch lacks: NMS, class-wise NMS, RoIAlign and RoIPool.

Boxes XYXY, corner-exclusive. All sizes of results are fixed: what is missing is marked invalid, never cut off.
"""

from twelve.regions.ops.pooling import SAMPLES, roi_align, roi_align_levels, roi_pool
from twelve.regions.ops.suppression import best_classes, best_scores, nms
from twelve.regions.ops.ways import NAMESPACE

__all__ = [
    "NAMESPACE",
    "SAMPLES",
    "best_classes",
    "best_scores",
    "nms",
    "roi_align",
    "roi_align_levels",
    "roi_pool",
]
