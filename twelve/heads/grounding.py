"""Which region is meant? One number a region (12-in-1, section 3.1, grounding referring expressions).

Shapes: N rows · R regions (global one first) · V image width.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from twelve.heads.base import Head
from twelve.model.config import ModelConfig

SELDOM = -3.0
"""Logit of a new head's every region: meant once in twenty."""


class GroundingHead(Head):
    """One linear layer a region; trained by a sigmoid a region against the overlap with the right box."""

    name = "grounding"
    reads: ClassVar[Literal["fused", "regions"]] = "regions"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.rate = nn.Linear(config.v_hidden_size, 1)
        nn.init.constant_(self.rate.bias, SELDOM)

    def forward(self, states: Tensor) -> Tensor:
        """Rate each region: [N, R, V] to [N, R] logits."""
        return self.rate(states)[..., 0]

    def scores(self, logits: Tensor) -> Tensor:
        """Give each of the [R] regions its own probability."""
        return torch.sigmoid(logits)
