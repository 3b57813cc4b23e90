"""Reading boxes off feature maps: RoIAlign, from one map or from the levels of a pyramid, and RoIPool.

Shapes: N pictures · P boxes of a picture · C channels · h, w cells · S bins a side · L levels.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from twelve.regions.ops.ways import NAMESPACE, way

SAMPLES = 2
"""Samples a bin side of RoIAlign. Fixed, as 12-in-1's extractor had it: an adaptive count would depend on the data."""

READ_AT_ONCE = 1 << 25
"""Numbers, 128 MB of them, that are read off a map together: of hundreds of wide boxes it would be gigabytes."""

FAR = -4.0
"""A place outside any map, whose middle is 0 and whose edges are -1 and 1."""


def roi_align(
    features: Tensor, boxes: Tensor, scale: float, size: int, samples: int = SAMPLES, half_pixel: bool = True
) -> Tensor:
    """Read each box off its picture's feature map: the mean of bilinear samples in each of size x size bins.

    Args:
        features: [N, C, h, w].
        boxes: [N, P, 4] in pixels of the picture, inside it.
        scale: Feature cells a pixel.
        size: S.
        samples: A bin side.
        half_pixel: Samples are aligned to the centres of the cells. Before that was thought of they lay half a cell
            further down and right, a box was at least one cell wide and high, and samples beyond the map were 0.

    Returns:
        [N, P, C, S, S].

    Source: Mask R-CNN (arXiv:1703.06870), section 3.
    """
    run = way(_roi_align, _roi_align_operator)
    return cast(Tensor, run(features, boxes, scale, size, samples, half_pixel))


def roi_align_levels(
    maps: Sequence[Tensor],
    boxes: Tensor,
    scales: Sequence[float],
    levels: Tensor,
    size: int,
    samples: int = SAMPLES,
    half_pixel: bool = True,
) -> Tensor:
    """Read each box off the level of a pyramid that fits it.

    Args:
        maps: L of [N, C, h, w], sizes of their own.
        boxes: [N, P, 4] in pixels of the picture, inside it.
        scales: Cells a pixel, of each level.
        levels: [N, P] int64, which of the maps each box is read off.
        size: S.
        samples: As in `roi_align`.
        half_pixel: Likewise.

    Returns:
        [N, P, C, S, S].

    Source: FPN (arXiv:1612.03144), section 4.2.
    """
    run = way(_roi_align_levels, _roi_align_levels_operator)
    return cast(Tensor, run(list(maps), boxes, list(scales), levels, size, samples, half_pixel))


def roi_pool(features: Tensor, boxes: Tensor, scale: float, size: int) -> Tensor:
    """Read each box off its picture's feature map: the largest number in each of size x size bins of whole cells.

    The corners are rounded to cells, the last one included; neighbouring bins may share cells.

    Args:
        features: [N, C, h, w].
        boxes: [N, P, 4] in pixels of the picture.
        scale: Feature cells a pixel.
        size: S.

    Returns:
        [N, P, C, S, S]; 0 where a bin lies beyond the map.

    Source: Fast R-CNN (arXiv:1504.08083), section 2.1; rounding as in its Caffe layer and ONNX's MaxRoiPool.
    """
    return cast(Tensor, way(_roi_pool, _roi_pool_operator)(features, boxes, scale, size))


def _roi_align(features: Tensor, boxes: Tensor, scale: float, size: int, samples: int, half_pixel: bool) -> Tensor:
    step = _boxes_at_once(features, size * samples)
    if boxes.size(1) <= step:
        return _align(features, boxes, scale, size, samples, half_pixel)
    parts = [boxes[:, start : start + step] for start in range(0, boxes.size(1), step)]
    return torch.cat([_align(features, part, scale, size, samples, half_pixel) for part in parts], dim=1)


def _align(features: Tensor, boxes: Tensor, scale: float, size: int, samples: int, half_pixel: bool) -> Tensor:
    pictures, channels, height, width = features.shape
    count, points = boxes.size(1), size * samples
    at = (torch.arange(points, dtype=features.dtype, device=features.device) + 0.5) / points
    cells = boxes.to(features.dtype) * scale
    if half_pixel:
        x = cells[..., 0:1] + (cells[..., 2:3] - cells[..., 0:1]) * at  # [N, P, points]
        y = cells[..., 1:2] + (cells[..., 3:4] - cells[..., 1:2]) * at
        x, y = x * 2 / width - 1, y * 2 / height - 1
        padding = "border"
    else:
        x = _legacy_places(cells[..., 0:1], cells[..., 2:3], at, width)
        y = _legacy_places(cells[..., 1:2], cells[..., 3:4], at, height)
        padding = "zeros"
    columns = x[:, :, None, :].expand(-1, -1, points, -1)
    rows = y[:, :, :, None].expand(-1, -1, -1, points)
    grid = torch.stack([columns, rows], dim=-1).reshape(pictures, count * points, points, 2)
    read = F.grid_sample(features, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    bins = F.avg_pool2d(read, samples)  # [N, C, P * S, S]
    return bins.view(pictures, channels, count, size, size).transpose(1, 2)  # [N, P, C, S, S]


def _legacy_places(first: Tensor, last: Tensor, at: Tensor, cells: int, far: float = FAR) -> Tensor:
    """Give the places of samples between two edges, [N, P, points], -1 to 1 over the map; FAR where there is none."""
    places = first + (last - first).clamp(min=1.0) * at
    there = (places >= -1) & (places <= cells)
    return torch.where(there, (places.clamp(0, cells - 1) + 0.5) * 2 / cells - 1, far)


def _boxes_at_once(features: Tensor, side: int, numbers: int = READ_AT_ONCE) -> int:
    return max(numbers // (features.size(0) * features.size(1) * side * side), 1)


def _roi_align_levels(
    maps: list[Tensor],
    boxes: Tensor,
    scales: list[float],
    levels: Tensor,
    size: int,
    samples: int,
    half_pixel: bool,
) -> Tensor:
    pictures, channels = maps[0].size(0), maps[0].size(1)
    read = torch.zeros([pictures, boxes.size(1), channels, size, size], dtype=maps[0].dtype, device=maps[0].device)
    for picture in range(pictures):
        for level, (features, scale) in enumerate(zip(maps, scales)):  # noqa: B905  # TorchScript knows no strict
            rows = (levels[picture] == level).nonzero()[:, 0]
            if rows.size(0) > 0:
                own = features[picture : picture + 1]
                read[picture, rows] = _roi_align(
                    own, boxes[picture : picture + 1, rows], scale, size, samples, half_pixel
                )[0]
    return read


def _roi_pool(features: Tensor, boxes: Tensor, scale: float, size: int) -> Tensor:
    corners = boxes.to(features.dtype) * scale
    corners = corners.floor() + (corners - corners.floor() >= 0.5)  # half a cell is rounded up
    top, bottom = _bins(corners[..., 1], corners[..., 3], size, features.size(2))  # [N, P, S] each
    left, right = _bins(corners[..., 0], corners[..., 2], size, features.size(3))
    pooled = torch.zeros([boxes.size(0), boxes.size(1), features.size(1), size, size], dtype=features.dtype)
    pooled = pooled.to(features.device)
    step = _boxes_at_once(features, size)
    for picture in range(boxes.size(0)):
        tables = _tables(features[picture], int((bottom - top).max()), int((right - left).max()))
        for start in range(0, boxes.size(1), step):
            end = start + step
            across = (left[picture, start:end, None, :], right[picture, start:end, None, :])
            down = (top[picture, start:end, :, None], bottom[picture, start:end, :, None])
            pooled[picture, start:end] = _largest(tables, down, across)
    return pooled


def _bins(first: Tensor, last: Tensor, size: int, cells: int) -> tuple[Tensor, Tensor]:
    """Share the cells from a first to a last one out among bins: where each starts and ends, two [N, P, S] int64."""
    share = (last - first + 1).clamp(min=1.0)[..., None] / size
    bins = torch.arange(size, dtype=first.dtype, device=first.device)
    starts = (bins * share).floor() + first[..., None]
    ends = ((bins + 1) * share).ceil() + first[..., None]
    return starts.clamp(0, cells).long(), ends.clamp(0, cells).long()


def _tables(features: Tensor, tallest: int, widest: int) -> Tensor:
    """Tabulate the largest numbers of rectangles 1, 2, 4, … cells high and wide, by their upper left cells.

    Any rectangle is covered by four of these, so its largest number takes four looks, whatever its size.

    Args:
        features: [C, h, w].
        tallest: Rectangle that will be asked for.
        widest: Likewise.

    Returns:
        [I, J, h, w, C], heights 2^i and widths 2^j; what reaches beyond the map is not to be looked at.
    """
    tall = [features.permute(1, 2, 0).contiguous()]
    span = 1
    while span * 2 <= tallest:
        tall.append(torch.maximum(tall[-1], tall[-1].roll(-span, 0)))
        span *= 2
    wide = [torch.stack(tall)]
    span = 1
    while span * 2 <= widest:
        wide.append(torch.maximum(wide[-1], wide[-1].roll(-span, 2)))
        span *= 2
    return torch.stack(wide, dim=1)


def _largest(tables: Tensor, down: tuple[Tensor, Tensor], across: tuple[Tensor, Tensor]) -> Tensor:
    """Give the largest numbers of bins from rows to rows ([P, S, 1] each) and columns to columns: [P, C, S, S]."""
    (top, bottom), (left, right) = down, across
    height, width, channels = tables.size(2), tables.size(3), tables.size(4)
    i, j = _halvings(bottom - top, tables.size(0)), _halvings(right - left, tables.size(1))
    lower, further = bottom - 2**i, right - 2**j  # where the second rectangle starts
    table = (i * tables.size(1) + j) * height
    flat = tables.view(-1, channels)
    largest = torch.zeros([0, channels], dtype=tables.dtype, device=tables.device)
    for row, column in ((top, left), (top, further), (lower, left), (lower, further)):
        place = (table + row.clamp(0, height - 1)) * width + column.clamp(0, width - 1)  # [P, S, S]
        looked = flat.index_select(0, place.flatten())
        largest = torch.maximum(largest, looked) if largest.size(0) > 0 else looked
    filled = (bottom > top) & (right > left)  # [P, S, S]
    numbers = largest.view(filled.size(0), filled.size(1), filled.size(2), channels) * filled[..., None]
    return numbers.permute(0, 3, 1, 2)


def _halvings(extents: Tensor, tables: int) -> Tensor:
    """Give the largest power of two within each extent, as its exponent; 0 for an empty one."""
    powers = 2 ** torch.arange(1, tables, device=extents.device)
    return (extents[..., None] >= powers).long().sum(dim=-1)


@torch.library.custom_op(f"{NAMESPACE}::roi_align", mutates_args=())
def _roi_align_operator(
    features: Tensor, boxes: Tensor, scale: float, size: int, samples: int, half_pixel: bool
) -> Tensor:
    return _roi_align(features, boxes, scale, size, samples, half_pixel).contiguous()


@_roi_align_operator.register_fake
def _(features: Tensor, boxes: Tensor, scale: float, size: int, samples: int, half_pixel: bool) -> Tensor:
    return features.new_empty(boxes.shape[0], boxes.shape[1], features.shape[1], size, size)


@torch.library.custom_op(f"{NAMESPACE}::roi_align_levels", mutates_args=())
def _roi_align_levels_operator(
    maps: Sequence[Tensor],
    boxes: Tensor,
    scales: Sequence[float],
    levels: Tensor,
    size: int,
    samples: int,
    half_pixel: bool,
) -> Tensor:
    return _roi_align_levels(list(maps), boxes, list(scales), levels, size, samples, half_pixel)


@_roi_align_levels_operator.register_fake
def _(
    maps: Sequence[Tensor],
    boxes: Tensor,
    scales: Sequence[float],
    levels: Tensor,
    size: int,
    samples: int,
    half_pixel: bool,
) -> Tensor:
    return maps[0].new_empty(boxes.shape[0], boxes.shape[1], maps[0].shape[1], size, size)


@torch.library.custom_op(f"{NAMESPACE}::roi_pool", mutates_args=())
def _roi_pool_operator(features: Tensor, boxes: Tensor, scale: float, size: int) -> Tensor:
    return _roi_pool(features, boxes, scale, size)


@_roi_pool_operator.register_fake
def _(features: Tensor, boxes: Tensor, scale: float, size: int) -> Tensor:
    return features.new_empty(boxes.shape[0], boxes.shape[1], features.shape[1], size, size)
