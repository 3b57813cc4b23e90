"""Regions of a picture, and the protocol of whatever finds them.

Shapes: R regions (detected first, given ones last) · F feature width. Boxes XYXY in pixels of the upright picture.
"""

from typing import Protocol

from torch import Tensor

from twelve.features.region_set import UNKNOWN_LABEL, RegionSet
from twelve.image import Picture

__all__ = ["UNKNOWN_LABEL", "RegionExtractor", "RegionSet"]


class RegionExtractor(Protocol):
    """Finds regions. One picture in, one region set out; knows no task."""

    @property
    def digest(self) -> str:
        """Identify weights and settings: equal digests give equal regions."""
        ...

    @property
    def feature_width(self) -> int:
        """Give F."""
        ...

    def extract(self, picture: Picture, given_px: Tensor | None = None) -> RegionSet:
        """Find the picture's regions and describe the given boxes by the same path.

        Args:
            picture: Upright RGB.
            given_px: [G, 4] boxes to describe as well, appended after the detected regions in their order.

        Returns:
            Detected regions, best first, then the given boxes.
        """
        ...
