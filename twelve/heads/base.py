"""What every head is: a small module that reads one kind of state and says what its numbers mean.

Shapes: M items · N rows · S state width · A outputs of an item.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from twelve.model.config import Labels


def shares(logits: Tensor) -> Tensor:
    """Give each of [A] logits its share of one whole; trained by a softmax."""
    return logits.softmax(dim=0)


SCORES: Mapping[Labels, Callable[[Tensor], Tensor]] = {"exclusive": shares, "independent": torch.sigmoid}
"""What logits mean, by how their head is trained."""


class Head(nn.Module, ABC):
    """A head: which state it reads, how the rows of an item stand together, what its logits mean.

    Attributes:
        name: Unique among the heads; the name of its exported graph.
        reads: "fused", one [B] state a row, or "regions", [R, V] states a row.
        rows_an_item: Rows that stand together.
        labels: How the head is trained: one of an item's outputs is right, or each on its own.
    """

    name: ClassVar[str]
    reads: ClassVar[Literal["fused", "regions"]] = "fused"
    rows_an_item: ClassVar[int] = 1
    labels: Labels

    @abstractmethod
    def forward(self, states: Tensor) -> Tensor:
        """Turn arranged states into logits."""

    def arrange(self, states: Tensor) -> Tensor:
        """Stand the rows of one item together for `forward`.

        Args:
            states: [N, …] the item's own rows and nobody else's.

        Returns:
            [M, …]; by default each row is an item of its own.
        """
        return states

    def scores(self, logits: Tensor) -> Tensor:
        """Turn one request's logits, as a vector [A], into scores that mean what the loss trained.

        Args:
            logits: [A].

        Returns:
            [A] in [0, 1]: shares that sum to 1 where labels exclude each other, else a probability each.
        """
        return SCORES[self.labels](logits)


def mlp(width: int, inner: int, outputs: int, *, eps: float) -> nn.Sequential:
    """Build the two-layer classifier of the published code: linear, GELU, LayerNorm, linear.

    Source: `SimpleClassifier`. Its dropout argument is ignored there, so there is none here.
    """
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.LayerNorm(inner, eps=eps), nn.Linear(inner, outputs))
