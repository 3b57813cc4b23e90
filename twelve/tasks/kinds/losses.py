"""The two losses of the paper (12-in-1, section 3.2), and the one the released code has in place of the second.

Shapes: A choices of one item; A may differ between items.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from twelve.model.config import Labels


def independent(choices: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Sum a sigmoid cross-entropy over each item's choices, and average over items.

    Args:
        choices: [A] logits of each item.
        targets: [A] in [0, 1].

    Returns:
        A scalar.

    Source: the published `BCEWithLogitsLoss(reduction="mean") * choices`, which is the same.
    """
    total = functional.binary_cross_entropy_with_logits(
        torch.cat(list(choices)), torch.cat(list(targets)), reduction="sum"
    )
    return total / len(choices)


def exclusive(choices: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Average a softmax cross-entropy over items.

    Args:
        choices: [A] logits of each item.
        targets: [A], one of them 1.

    Returns:
        A scalar.
    """
    losses = [-(target * logits.log_softmax(dim=0)).sum() for logits, target in zip(choices, targets, strict=True)]
    return torch.stack(losses).mean()


def averaged(choices: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Average a sigmoid cross-entropy over items and over each item's choices.

    Args:
        choices: [A] logits of each item.
        targets: [A] in [0, 1].

    Returns:
        A scalar.

    Source: the published `BCEWithLogitsLoss(reduction="mean")` of NLVR2 and SNLI-VE; the paper has a softmax there.
    """
    return functional.binary_cross_entropy_with_logits(torch.cat(list(choices)), torch.cat(list(targets)))


VERDICTS: Mapping[Labels, Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]] = {
    "exclusive": exclusive,
    "independent": averaged,
}
"""Losses of the verification tasks, by what their head's scores are to mean."""


def one_hot(place: int, count: int) -> Tensor:
    """Give [count] zeros with a one at `place`."""
    target = torch.zeros(count)
    target[place] = 1.0
    return target
