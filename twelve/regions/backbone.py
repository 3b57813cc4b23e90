"""From pixels to a feature map with cells of 8 pixels.

The network that serves has convolutions only. Training puts a norm behind each and folds it away at the end, so
`Convolution` keeps a place for it.

Shapes: N pictures · C channels of the last map · H, W pixels · h, w cells.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RGB = 3
MIDDLE_GREY = 127.5


class Convolution(nn.Module):
    """A 3x3 convolution and the norm that training puts behind it."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm: nn.Module = nn.Identity()
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve; no activation."""
        normed: Tensor = self.norm(self.convolution(maps))
        return normed


class Residual(nn.Module):
    """Two convolutions beside a shortcut (ResNet, arXiv:1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolution(width, width)
        self.second = Convolution(width, width)

    def forward(self, maps: Tensor) -> Tensor:
        """Add what two convolutions see to the map."""
        return F.relu(maps + self.second(F.relu(self.first(maps))))


class Backbone(nn.Module):
    """Halves the picture once a width, then looks wider around on the last map."""

    def __init__(self, widths: Sequence[int], *, blocks: int) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)
        self.halvings = nn.ModuleList(Convolution(a, b, stride=2) for a, b in pairwise((RGB, *widths)))
        self.blocks = nn.ModuleList(Residual(widths[-1]) for _ in range(blocks))

    def forward(self, pixels: Tensor) -> Tensor:
        """Give the map [N, C, h, w] of pictures [N, 3, H, W], raw RGB from 0 to 255; h = H / 8, rounded up."""
        maps = pixels / MIDDLE_GREY - 1
        for halving in self.halvings:
            maps = F.relu(halving(maps))
        for block in self.blocks:
            maps = block(maps)
        return maps


def anchors(height: int, width: int, shapes: Tensor, *, stride: int) -> Tensor:
    """Lay anchors of each shape around the centre of each cell.

    Args:
        height: h, of the map.
        width: w.
        shapes: [A, 4] XYXY around the origin.
        stride: Pixels a cell.

    Returns:
        [h * w * A, 4] in pixels, cells row by row.
    """
    y = (torch.arange(height, device=shapes.device, dtype=shapes.dtype) + 0.5) * stride
    x = (torch.arange(width, device=shapes.device, dtype=shapes.dtype) + 0.5) * stride
    centers = torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)], dim=-1)  # [h, w, 2]
    corners = centers.repeat(1, 1, 2)[:, :, None] + shapes  # [h, w, A, 4]
    return corners.reshape(-1, 4)


def anchor_shapes(sides: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Give boxes around the origin of each area and ratio of height to width, [A, 4]."""
    halves = [(side / ratio**0.5 / 2, side * ratio**0.5 / 2) for side in sides for ratio in ratios]
    return torch.tensor([[-x, -y, x, y] for x, y in halves])
