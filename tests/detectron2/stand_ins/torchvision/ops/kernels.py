"""NMS one box after the other, RoIAlign one sample after the other.

Shapes: N pictures · C channels · H, W cells · K boxes · S samples a bin side.
"""

import math

import numpy as np
import torch
from torch import Tensor


def survivors(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Give the indices of the boxes that stay, best first: the greedy loop of the textbook."""
    corners = boxes.detach().numpy()
    sides = corners[:, 2:] - corners[:, :2]
    areas = sides[:, 0] * sides[:, 1]
    waiting = torch.sort(scores, descending=True, stable=True).indices.numpy()
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        first = np.maximum(corners[best, :2], corners[waiting, :2])
        last = np.minimum(corners[best, 2:], corners[waiting, 2:])
        shared = np.clip(last - first, 0, None).prod(axis=1)
        with np.errstate(invalid="ignore"):
            waiting = waiting[~(shared / (areas[best] + areas[waiting] - shared) > overlap)]
    return torch.tensor(kept, dtype=torch.int64)


def align(features: Tensor, rois: Tensor, scale: float, height: int, width: int, samples: int, aligned: bool) -> Tensor:
    """Pool boxes: the mean of bilinear samples in each bin. Without a count of samples, one for each cell of a bin."""
    pooled = features.new_zeros(len(rois), features.shape[1], height, width)
    for row, (picture, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (corner * scale - 0.5 * aligned for corner in corners)
        across, down = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
        rows = _reads(y1, down / height, height, samples, features.shape[2])
        columns = _reads(x1, across / width, width, samples, features.shape[3])
        pooled[row] = _taken(features[int(picture)], rows, columns)
    return pooled


def _taken(features: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    """Give [C, h, w] bins of [C, H, W] cells; cells that no bin reads are cut away first."""
    top, left = (_reach(reads) for reads in (rows, columns))
    down, across = (torch.tensor(reads[:, reach]) for reads, reach in ((rows, top), (columns, left)))
    return down @ features[:, top, left] @ across.T


def _reach(reads: np.ndarray) -> slice:
    read = np.flatnonzero(reads.any(axis=0))
    return slice(read[0], read[-1] + 1) if len(read) else slice(0, 1)


def _reads(start: float, side: float, bins: int, samples: int, cells: int) -> np.ndarray:
    """Say how much each bin takes of each cell of a line, [bins, cells]: reading is linear in each direction."""
    count = samples if samples > 0 else max(math.ceil(side), 1)
    taken = np.zeros((bins, cells), dtype=np.float32)
    for number in range(bins):
        for sample in range(count):
            at = start + side * (number + (sample + 0.5) / count)
            if -1.0 <= at <= cells:
                _read(taken[number], max(at, 0.0), 1 / count)
    return taken


def _read(taken: np.ndarray, at: float, share: float) -> None:
    """Take a share from the two cells around a place; at the end of the line from the last alone."""
    low = min(int(at), len(taken) - 1)
    high = min(low + 1, len(taken) - 1)
    beyond = at - low if high > low else 0.0
    taken[low] += share * (1 - beyond)
    taken[high] += share * beyond
