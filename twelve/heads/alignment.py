"""Does this caption describe this picture? One number a pair (12-in-1, section 3.2, caption-based image retrieval).

Shapes: N rows, one a candidate picture · B fused width.
"""

from torch import Tensor, nn

from twelve.heads.base import Head
from twelve.model.config import Labels, ModelConfig


class AlignmentHead(Head):
    """One linear layer; the candidates of a caption compete, so each one's score is its share."""

    name = "alignment"
    labels: Labels = "exclusive"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.rate = nn.Linear(config.bi_hidden_size, 1)

    def forward(self, states: Tensor) -> Tensor:
        """Rate each pair: [N, B] to [N, 1] logits."""
        return self.rate(states)
