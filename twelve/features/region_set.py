"""The regions of one picture, as the extractor finds them and the store keeps them.

Shapes: R regions (detected first, given ones last) · F feature width. Boxes XYXY in pixels of the upright picture.
"""

from dataclasses import dataclass

from torch import Tensor

UNKNOWN_LABEL = -1
"""The label of a region whose class nobody named (given boxes, imported features)."""


@dataclass(frozen=True)
class RegionSet:
    """The regions of one picture: detected ones, best first, then the boxes the caller gave, in the caller's order.

    Attributes:
        features: [R, F] float32.
        boxes_px: [R, 4] float32, XYXY, inside the picture.
        scores: [R] float32 in [0, 1]; 1 for given boxes.
        labels: [R] int64, an index into the detector's class names, or UNKNOWN_LABEL.
        width: Of the upright picture, pixels.
        height: Likewise.
        given: How many of the last rows are boxes that the caller gave.
    """

    features: Tensor
    boxes_px: Tensor
    scores: Tensor
    labels: Tensor
    width: int
    height: int
    given: int = 0

    def __len__(self) -> int:
        """Count the regions, given ones included."""
        return int(self.features.shape[0])
