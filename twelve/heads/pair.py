"""Is the statement true of this pair of pictures?

Source: 12-in-1, section 3.2, NLVR2.

Shapes: N rows, two an item · M items · B fused width.
"""

from torch import Tensor

from twelve.heads.base import Head, mlp
from twelve.model.config import ModelConfig

PICTURES_OF_A_PAIR = 2
FALSE, TRUE = 0, 1


class PairHead(Head):
    """A two-layer classifier over both pictures' fused states, joined.

    Differs: an item's two rows come by span. The published code pairs neighbours whenever the batch is even, and
    answers from another head when it is odd.
    """

    name = "pair"
    rows_an_item = PICTURES_OF_A_PAIR

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        joined = PICTURES_OF_A_PAIR * config.bi_hidden_size
        self.classify = mlp(joined, joined, 2, eps=config.layer_norm_eps)
        self.labels = config.head_switches.pair_labels

    def arrange(self, states: Tensor) -> Tensor:
        """Join the two rows of each item: [2M, B] to [M, 2B]."""
        return states.reshape(-1, PICTURES_OF_A_PAIR * states.shape[-1])

    def forward(self, states: Tensor) -> Tensor:
        """Rate false and true: [M, 2B] to [M, 2] logits."""
        return self.classify(states)
