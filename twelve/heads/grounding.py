"""Which region is meant? One number a region (12-in-1, section 3.2, grounding referring expressions).

Shapes: N rows · R regions (global one first) · V image width.
"""

from typing import ClassVar, Literal

from torch import Tensor, nn

from twelve.heads.base import Head
from twelve.model.attention import dropout_of
from twelve.model.config import Labels, ModelConfig

SELDOM = -3.0
"""Logit of a new head's every region: meant once in twenty."""


class GroundingHead(Head):
    """One linear layer a region; trained by a sigmoid a region against the overlap with the right box.

    Differs: padding is the caller's to cut off; the published code adds -10000 to its logits.
    """

    name = "grounding"
    reads: ClassVar[Literal["fused", "regions"]] = "regions"
    labels: Labels = "independent"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = dropout_of(config.hidden_dropout_prob)
        self.rate = nn.Linear(config.v_hidden_size, 1)
        nn.init.constant_(self.rate.bias, SELDOM)

    def forward(self, states: Tensor) -> Tensor:
        """Rate each region: [N, R, V] to [N, R] logits."""
        return self.rate(self.dropout(states))[..., 0]
