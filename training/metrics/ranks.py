"""Ranks of the right ones in a gallery, and the figures retrieval is reported by.

Shapes: C captions · P pictures · Q queries · G gallery entries.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.metrics.figures import PLACES, Report, mean
from twelve.errors import DataError

DEPTHS = (1, 5, 10)
"""Of recall."""


def image_retrieval(scores: Tensor, picture_of: Tensor) -> Report:
    """Rate the finding of each caption's picture.

    Args:
        scores: [C, P].
        picture_of: [C], the column of each caption's own picture.

    Returns:
        Recalls and median rank.
    """
    return recalls(ranks(scores, _own(scores, picture_of)))


def text_retrieval(scores: Tensor, picture_of: Tensor) -> Report:
    """Rate the finding of one of each picture's captions; arguments as for `image_retrieval`."""
    return recalls(ranks(scores.T, _own(scores, picture_of).T))


def folded(scores: Tensor, picture_of: Tensor, *, pictures: int) -> Report:
    """Rate both directions on galleries of some pictures each, and average: COCO's 5,000 as five times 1,000.

    Args:
        scores: [C, P].
        picture_of: [C], the column of each caption's own picture.
        pictures: Of one gallery; they follow one another. The last ones that do not fill a gallery are left out.

    Returns:
        Means over the galleries, and how many there are.

    Raises:
        DataError: There are fewer pictures.
    """
    folds = scores.shape[1] // pictures
    if not folds:
        raise DataError(f"a gallery of {pictures:,} pictures was asked for, {scores.shape[1]:,} are scored")
    directions = {"image retrieval": image_retrieval, "text retrieval": text_retrieval}
    found: dict[str, list[Report]] = {name: [] for name in directions}
    for start in range(0, folds * pictures, pictures):
        inside = (picture_of >= start) & (picture_of < start + pictures)
        for name, rate in directions.items():
            found[name].append(rate(scores[inside, start : start + pictures], picture_of[inside] - start))
    averaged = {
        name: {key: round(mean(fold[key] for fold in each), PLACES) for key in each[0]} for name, each in found.items()
    }
    return {"pictures": pictures, "galleries": folds, **averaged}


def ranks(scores: Tensor, is_right: Tensor) -> Tensor:
    """Give each query the rank of the best of its right entries, from 1 on.

    A wrong entry with an equal score stands before a right one: a model that gives all entries one score finds nothing.

    Args:
        scores: [Q, G].
        is_right: [Q, G] bool; at least one a row.

    Returns:
        [Q] int64.

    Raises:
        DataError: A score is no number, or a query has no right entry; names the row.

    Differs: eval_retrieval.py sorts, so that entries of one score stand in the order the sort leaves them in.
    """
    _refuse(torch.isnan(scores).any(dim=1), "has a score that is no number")
    _refuse(~is_right.any(dim=1), "has no right entry in its gallery")
    best = scores.masked_fill(~is_right, -torch.inf).amax(dim=1, keepdim=True)  # [Q, 1]
    return 1 + ((scores >= best) & ~is_right).sum(dim=1)


def recalls(found: Tensor) -> Report:
    """Give the share of queries found within each depth, and the median rank.

    Args:
        found: [Q] ranks from 1 on.

    Source: eval_retrieval.py (12-in-1): of an even number of queries, the mean of the middle two, rounded down.
    """
    recall = {f"R@{depth}": round((found <= depth).float().mean().item(), PLACES) for depth in DEPTHS}
    return {**recall, "median rank": int(found.double().quantile(0.5).floor().item())}


def _own(scores: Tensor, picture_of: Tensor) -> Tensor:
    return picture_of[:, None] == torch.arange(scores.shape[1])  # [C, P]


def _refuse(is_wrong: Tensor, reason: str) -> None:
    rows: Sequence[int] = is_wrong.nonzero().flatten().tolist()
    if rows:
        raise DataError(f"query {rows[0]} {reason}; every caption and picture needs a score, and its partner beside it")
