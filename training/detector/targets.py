"""Which ground truth a box stands for, for all boxes of a batch at once.

Shapes: N pictures · P boxes of a picture (anchors or looked-at boxes) · G things of a picture, padded.
"""

from typing import NamedTuple

import torch
from torch import Tensor

JITTER_SHIFT, JITTER_GROWTH = 0.12, 0.2
"""How far a jittered box strays from its thing, of the thing's sides: so far that most overlap it by more than half."""


class Matches(NamedTuple):
    """The thing that each box overlaps most: its number, and by how much; [N, P] each. Padding is overlapped by 0."""

    thing: Tensor
    overlap: Tensor


def match(boxes: Tensor, things: Tensor) -> Matches:
    """Match boxes [N, P, 4] with things [N, G, 4]."""
    overlap, thing = pairwise_overlaps(boxes, things).max(dim=2)
    return Matches(thing, overlap)


def pairwise_overlaps(boxes: Tensor, things: Tensor) -> Tensor:
    """Give intersections over unions, [N, P, G]."""
    upper_left = torch.maximum(boxes[:, :, None, :2], things[:, None, :, :2])
    lower_right = torch.minimum(boxes[:, :, None, 2:], things[:, None, :, 2:])
    shared = (lower_right - upper_left).clamp(min=0).prod(dim=3)
    union = _areas(boxes)[:, :, None] + _areas(things)[:, None] - shared
    return shared / union.clamp(min=1e-6)


def best_anchors(overlaps: Tensor) -> Tensor:
    """Mark the anchors that overlap some thing more than all others do, [N, P]: every thing has one, however odd."""
    best = overlaps.amax(dim=1, keepdim=True)  # [N, 1, G]
    return ((overlaps == best) & (best > 0)).any(dim=2)


def sample(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Mark `count` of the candidates of each picture, drawn evenly; all, where there are fewer. [N, P] bool."""
    lots = torch.rand(candidates.shape, generator=generator).masked_fill(~candidates, -1.0)
    drawn = torch.zeros_like(candidates).scatter(1, lots.topk(count, dim=1).indices, True)
    return drawn & candidates


def gather(values: Tensor, thing: Tensor) -> Tensor:
    """Give each box its thing's value: [N, G, …] and [N, P] -> [N, P, …]."""
    index = thing.view(*thing.shape, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


def jitter(boxes: Tensor, *, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Move each box a little and make it a little larger or smaller, as a caller's boxes and a detector's are."""
    sides = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
    lots = torch.rand((2, *boxes.shape[:-1], 2), generator=generator) * 2 - 1
    shift, growth = lots[0].repeat(1, 1, 2) * JITTER_SHIFT, lots[1] * JITTER_GROWTH / 2
    moved = boxes + sides * (shift + torch.cat([-growth, growth], dim=-1))
    return torch.minimum(moved.clamp(min=0), moved.new_tensor([width, height, width, height]))


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
