"""What every head is: a small module that reads one kind of state and says what its numbers mean.

Shapes: M items · N rows · S state width · A outputs of an item.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """A head: which state it reads, how the rows of an item stand together, what its logits mean.

    Attributes:
        name: Unique among the heads; the name of its exported graph.
        reads: "fused", one [B] state a row, or "regions", [R, V] states a row.
    """

    name: ClassVar[str]
    reads: ClassVar[Literal["fused", "regions"]] = "fused"

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

    @abstractmethod
    def scores(self, logits: Tensor) -> Tensor:
        """Turn one request's logits, as a vector [A], into scores that mean what the loss trained."""


def mlp(width: int, inner: int, outputs: int, *, eps: float) -> nn.Sequential:
    """Build the two-layer classifier of the published code: linear, GELU, LayerNorm, linear.

    Source: `SimpleClassifier`. Its dropout argument is ignored there, so there is none here.
    """
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.LayerNorm(inner, eps=eps), nn.Linear(inner, outputs))
