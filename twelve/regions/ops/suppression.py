"""Non-maximum suppression: the best boxes of which no two overlap, of one kind or within each class.

Shapes: N pictures · P boxes of a picture · K boxes kept · C classes · M pairs of box and class · E pairs where one box,
        if it stays, strikes the other out.
"""

from typing import cast

import torch
from torch import Tensor

from twelve.regions.ops.ways import NAMESPACE, way

BLOCK = 1024
"""Boxes whose overlaps `nms` looks at together: thousands of candidates need no matrix of thousands by thousands."""

EXPANDED = 1 << 22
"""Pairs of box and class, times neighbours of a box, that `best_classes` looks at together: 32 MB an index."""

BELOW = 1 - 1e-6
"""What stands above a number times this includes the number itself: ONNX's NonMaxSuppression has no "at least"."""


def nms(boxes: Tensor, scores: Tensor, overlap: float, keep: int, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Keep the best boxes of which no two overlap: exact greedy non-maximum suppression.

    Args:
        boxes: [N, P, 4].
        scores: [N, P]; of equal scores the first stands higher.
        overlap: A box is struck out by a better kept one that overlaps it by more than this.
        keep: K, at most P.
        offset: What is added to each side of a box; 1 for boxes whose far corner is their last pixel.

    Returns:
        Which boxes, [N, K] int64, best first; and which of these rows are valid, [N, K] bool.
    """
    chosen = way(_nms, _nms_operator)(boxes, scores, overlap, keep, offset)
    return cast(tuple[Tensor, Tensor], chosen)


def best_scores(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    """Give each box the best of its class scores that survives non-maximum suppression within its class.

    Pairs of box and class at or below `floor` take no part. That changes nothing above the floor: a pair is only ever
    struck out by a better one.

    Args:
        boxes: [N, P, 4].
        scores: [N, P, C], background left out.
        overlap: As in `nms`.
        floor: Least score.

    Returns:
        [N, P]; 0 where no class survives.
    """
    return cast(Tensor, way(_best_scores, _best_scores_operator)(boxes, scores, overlap, floor))


def best_classes(
    boxes: Tensor, scores: Tensor, overlap: float, most: int, offset: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Give each box the best of its class scores that survives non-maximum suppression within its class, and the class.

    Exact for the `most` best boxes, and for every box as good as the last of them; the others' scores may be too low,
    down to 0. Hundreds of classes make too many pairs of box and class to look at, and nearly all are far below what
    is wanted. The best box of a class always survives, so each box is at least as good as the classes that it is best
    of: the `most`-th largest of these bounds is a floor, below which no pair counts. As in `best_scores` a floor
    changes nothing above it. Where fewer boxes are best of any class, the floor is 0 and all is exact.

    Args:
        boxes: [N, P, 4].
        scores: [N, P, C], background left out, none negative; of equal scores the first box stands higher.
        overlap: As in `nms`.
        most: How many boxes, the best by this very score, the caller will keep.
        offset: As in `nms`.

    Returns:
        The scores, [N, P], 0 where no class survives; and the classes, [N, P] int64, of equal ones the first.
    """
    chosen = way(_best_classes, _best_classes_operator)(boxes, scores, overlap, most, offset)
    return cast(tuple[Tensor, Tensor], chosen)


def intersection_over_union(first: Tensor, second: Tensor, offset: float) -> Tensor:
    """Give the overlap of each pair of one picture's boxes, [N, P, 4] and [N, Q, 4]: [N, P, Q]; 0 if both are empty."""
    across = torch.minimum(first[:, :, None, 2], second[:, None, :, 2])  # [N, P, Q]
    across = (across - torch.maximum(first[:, :, None, 0], second[:, None, :, 0]) + offset).clamp(min=0.0)
    down = torch.minimum(first[:, :, None, 3], second[:, None, :, 3])
    down = (down - torch.maximum(first[:, :, None, 1], second[:, None, :, 1]) + offset).clamp(min=0.0)
    shared = across * down
    return shared / (_areas(first, offset)[:, :, None] + _areas(second, offset)[:, None, :] - shared).clamp(min=1e-9)


def _areas(boxes: Tensor, offset: float) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0] + offset) * (boxes[..., 3] - boxes[..., 1] + offset)


def _nms(
    boxes: Tensor, scores: Tensor, overlap: float, keep: int, offset: float, together: int = BLOCK
) -> tuple[Tensor, Tensor]:
    order = torch.sort(scores, stable=True, dim=1, descending=True)[1]  # [N, P]
    ranked = boxes.gather(1, order[:, :, None].expand(-1, -1, 4))
    kept = torch.zeros_like(order, dtype=torch.bool)  # [N, P]
    start = 0
    while start < kept.size(1) and bool((kept.sum(dim=1) < keep).any()):  # a block at a time, until enough are kept
        block = ranked[:, start : start + together]
        free = ~_struck_before(ranked[:, :start], kept[:, :start], block, overlap, offset)
        near = intersection_over_union(block, block, offset) > overlap
        kept[:, start : start + together] = _survivors(torch.triu(near, diagonal=1), free)
        start += together
    front = _trues_first(kept)[:, :keep]
    return order.gather(1, front), kept.gather(1, front)


def _struck_before(ranked: Tensor, kept: Tensor, block: Tensor, overlap: float, offset: float) -> Tensor:
    """Say which boxes of a block [N, B, 4] are struck out by those kept of the better ones, [N, B]."""
    front = _trues_first(kept)[:, : int(kept.sum(dim=1).max())]
    winners = ranked.gather(1, front[:, :, None].expand(-1, -1, 4))
    near = intersection_over_union(winners, block, offset) > overlap
    return (near & kept.gather(1, front)[:, :, None]).any(dim=1)


def _trues_first(marks: Tensor) -> Tensor:
    """Give the places of marks [N, P] with those that are true in front, in their order."""
    return torch.sort((~marks).long(), stable=True, dim=1)[1]


def _best_scores(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    best = torch.zeros_like(scores[:, :, 0])  # [N, P]
    pairs = (scores > floor).nonzero()  # [M, 3]: picture, box, class
    if pairs.size(0) == 0:
        return best
    values = scores[pairs[:, 0], pairs[:, 1], pairs[:, 2]]  # [M]
    order = torch.sort(values, stable=True, dim=0, descending=True)[1]
    values, picture, box, label = values[order], pairs[order, 0], pairs[order, 1], pairs[order, 2]
    rivals = (picture[:, None] == picture[None]) & (label[:, None] == label[None])  # [M, M]
    near = (intersection_over_union(boxes, boxes, 0.0) > overlap)[picture[:, None], box[:, None], box[None]]
    free = torch.ones_like(values, dtype=torch.bool)
    kept = _survivors(torch.triu(rivals & near, diagonal=1)[None], free[None])[0]  # [M]
    flat = best.flatten().scatter_reduce(0, (picture * boxes.size(1) + box)[kept], values[kept], "amax")
    return flat.view_as(best)


def _survivors(strikes: Tensor, free: Tensor) -> Tensor:
    """Settle who is left, [N, P] bool, where [n, i, j] says that i, if it stays, strikes out j, which ranks below it.

    Asked again and again who is struck by someone that stays, the answer is right for one more rank each time, and so
    settles on what the greedy loop over boxes gives; in practice after three to six rounds. Who is not free is out.
    """
    weights, candidates = strikes.float(), free.float()[:, None]
    stays = candidates  # [N, 1, P]
    settled = False
    while not settled:
        renewed = (torch.matmul(stays, weights) < 0.5).float() * candidates
        settled = torch.equal(renewed, stays)
        stays = renewed
    return stays[:, 0] > 0.5


def _best_classes(boxes: Tensor, scores: Tensor, overlap: float, most: int, offset: float) -> tuple[Tensor, Tensor]:
    alive = scores > _floor(scores, most)[:, None, None]  # [N, P, C]
    strikers, victims = _strikes(boxes, scores, alive, overlap, offset)
    candidates = alive.flatten()
    stays = candidates
    settled = False
    while not settled:  # as in `_survivors`, with the strikes listed: nearly all pairs strike nobody
        renewed = candidates.clone()
        renewed[victims[stays[strikers]]] = False
        settled = torch.equal(renewed, stays)
        stays = renewed
    left = scores * stays.view_as(scores)
    label = left.argmax(dim=-1)
    return left.gather(-1, label[:, :, None])[:, :, 0], label


def _floor(scores: Tensor, most: int, below: float = BELOW) -> Tensor:
    """Give a number below the `most`-th best box's score, [N]; 0 where it is not known that there are as many."""
    tops, best = scores.max(dim=1)  # [N, C]: each class's best score, and which box has it
    bounds = torch.zeros_like(scores[:, :, 0]).scatter_reduce(1, best, tops, "amax")  # [N, P]
    return bounds.topk(min(most, bounds.size(1)), dim=1)[0][:, -1] * below


def _strikes(
    boxes: Tensor, scores: Tensor, alive: Tensor, overlap: float, offset: float, together: int = EXPANDED
) -> tuple[Tensor, Tensor]:
    """List who strikes out whom within a class: two [E] of places in the flattened scores."""
    near = (intersection_over_union(boxes, boxes, offset) > overlap).triu(1)
    near = near | near.transpose(1, 2)  # but no box is its own neighbour  # [N, P, P]
    degrees = near.sum(dim=2).flatten()  # [N * P]
    neighbours = near.nonzero()[:, 2]  # those of the first box, those of the second, …
    starts = degrees.cumsum(0) - degrees
    flat, classes = scores.flatten(), scores.size(2)
    pairs = alive.flatten().nonzero()[:, 0]  # [M]
    step = max(together // max(int(degrees.max()), 1), 1)
    strikers, victims = [pairs[:0]], [pairs[:0]]
    for start in range(0, pairs.size(0), step):
        part = pairs[start : start + step]
        row = part // classes  # of all pictures' boxes
        count = degrees[row]
        victim = part.repeat_interleave(count)
        ends = count.cumsum(0)
        within = torch.arange(victim.size(0), device=part.device) - (ends - count).repeat_interleave(count)
        neighbour = neighbours[starts[row].repeat_interleave(count) + within]
        striker = victim + (neighbour - (row % boxes.size(1)).repeat_interleave(count)) * classes
        ours, theirs = flat[victim], flat[striker]
        better = (theirs > ours) | ((theirs == ours) & (striker < victim))
        strikers.append(striker[better])
        victims.append(victim[better])
    return torch.cat(strikers), torch.cat(victims)


@torch.library.custom_op(f"{NAMESPACE}::nms", mutates_args=())
def _nms_operator(boxes: Tensor, scores: Tensor, overlap: float, keep: int, offset: float) -> tuple[Tensor, Tensor]:
    return _nms(boxes, scores, overlap, keep, offset)


@_nms_operator.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, keep: int, offset: float) -> tuple[Tensor, Tensor]:
    size = (boxes.shape[0], keep)
    return boxes.new_empty(size, dtype=torch.long), boxes.new_empty(size, dtype=torch.bool)


@torch.library.custom_op(f"{NAMESPACE}::best_scores", mutates_args=())
def _best_scores_operator(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    return _best_scores(boxes, scores, overlap, floor)


@_best_scores_operator.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, floor: float) -> Tensor:
    return scores.new_empty(scores.shape[:2])


@torch.library.custom_op(f"{NAMESPACE}::best_classes", mutates_args=())
def _best_classes_operator(
    boxes: Tensor, scores: Tensor, overlap: float, most: int, offset: float
) -> tuple[Tensor, Tensor]:
    return _best_classes(boxes, scores, overlap, most, offset)


@_best_classes_operator.register_fake
def _(boxes: Tensor, scores: Tensor, overlap: float, most: int, offset: float) -> tuple[Tensor, Tensor]:
    size = scores.shape[:2]
    return scores.new_empty(size), scores.new_empty(size, dtype=torch.long)
