"""How a picture is brought to the size a detector looks at. Published features hang on the last detail of it.

Shapes: H, W of the picture · h, w of the resized one.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

BRIGHTEST = 255


class Scale(NamedTuple):
    """Resized pixels a pixel of the picture."""

    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """The small detector's: antialiased, whole numbers.

    Attributes:
        short_side: What a picture's shorter side is resized to,
        long_side: unless its longer side would exceed this.
        least_side: No side becomes smaller, though it distorts very long pictures.
    """

    short_side: int
    long_side: int
    least_side: int

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Give the height and width a picture is resized to."""
        scale = min(self.short_side / min(height, width), self.long_side / max(height, width))
        return self._side(height * scale), self._side(width * scale)

    def scale(self, height: int, width: int) -> Scale:
        """Give what boxes of the resized picture are divided by."""
        sides = self.sides(height, width)
        return Scale(x=sides[1] / width, y=sides[0] / height)

    def resize(self, pixels: Tensor) -> Tensor:
        """Resize a picture.

        Args:
            pixels: [3, H, W] float32, whole numbers from 0 to 255.

        Returns:
            [3, h, w] float32; whole numbers here, so that training may keep them as bytes and serving sees the same.
        """
        sides = self.sides(pixels.shape[1], pixels.shape[2])
        if sides == tuple(pixels.shape[1:]):
            return pixels.contiguous()
        smooth = F.interpolate(pixels[None], size=sides, mode="bilinear", antialias=True, align_corners=False)
        return smooth[0].round().clamp(0, BRIGHTEST)

    def _side(self, length: float) -> int:
        return max(round(length), self.least_side)


class PillowResizing(Resizing):
    """detectron2's: Pillow's bilinear filter, which smooths where it shrinks; a half is rounded up.

    Source: detectron2 v0.6, `ResizeShortestEdge` and `ResizeTransform`.
    """

    def _side(self, length: float) -> int:
        return max(math.floor(length + 0.5), self.least_side)


class TorchResizing(PillowResizing):
    """That of `interpolate` over floats: sides as detectron2's, but two pixels a side are read, never smoothed.

    Source: `ResizeShortestEdge` of transformers' research_projects/lxmert/processing_image.py, whose `Preprocess` has
    made floats of the picture by then, so that its branch with Pillow's filter is never taken.
    """

    def resize(self, pixels: Tensor) -> Tensor:
        """Resize a picture; see `Resizing.resize`. Fractions stay."""
        sides = self.sides(pixels.shape[1], pixels.shape[2])
        return F.interpolate(pixels[None], size=sides, mode="bilinear", align_corners=False)[0]


class Cv2Resizing(Resizing):
    """OpenCV's `resize` by a factor: two pixels a side are read, never smoothed, and fractions stay.

    The factor itself, not the quotient of the rounded sides, says where a pixel is read and what boxes are divided by.

    Source: `_image_transform` of facebookresearch/vilbert-multi-task, script/extract_features.py. Differs: a side that
    would be shorter than `least_side` is stretched to it, where the published code ends at 0 pixels.
    """

    def scale(self, height: int, width: int) -> Scale:
        """Give the factor; of a stretched side its own."""
        factor = self._factor(height, width)
        x, y = (max(factor, self.least_side / side) for side in (width, height))
        return Scale(x=x, y=y)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Give the height and width a picture is resized to."""
        factor = self._factor(height, width)
        return self._side(height * factor), self._side(width * factor)

    def resize(self, pixels: Tensor) -> Tensor:
        """Resize a picture; see `Resizing.resize`."""
        height, width = pixels.shape[1], pixels.shape[2]
        scale = self.scale(height, width)
        sides = list(self.sides(height, width))
        return torch.ops.aten.upsample_bilinear2d(pixels[None], sides, False, scale.y, scale.x)[0]

    def _factor(self, height: int, width: int) -> float:
        factor = self.short_side / min(height, width)
        fits = round(factor * max(height, width)) <= self.long_side
        return factor if fits else self.long_side / max(height, width)


RESIZINGS: dict[str, type[Resizing]] = {"pillow": PillowResizing, "torch": TorchResizing, "cv2": Cv2Resizing}
