"""Does the picture entail the statement, contradict it, or leave it open?

Source: 12-in-1, section 3.1, SNLI-VE.

Shapes: N rows · B fused width.
"""

from collections.abc import Callable

from torch import Tensor, nn

from twelve.heads.base import Head, mlp
from twelve.model.config import ModelConfig

LABELS = ("contradiction", "neutral", "entailment")
"""In the order of the published checkpoint's outputs."""


def _paper(config: ModelConfig) -> nn.Module:
    return mlp(config.bi_hidden_size, 2 * config.bi_hidden_size, len(LABELS), eps=config.layer_norm_eps)


def _released(config: ModelConfig) -> nn.Module:
    return nn.Linear(config.bi_hidden_size, len(LABELS))


FORMS: dict[str, Callable[[ModelConfig], nn.Module]] = {"paper": _paper, "released": _released}


class EntailmentHead(Head):
    """The paper's two-layer classifier, or the single linear layer of the released code, by `ModelConfig.heads`."""

    name = "entailment"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.classify = FORMS[config.heads](config)

    def forward(self, states: Tensor) -> Tensor:
        """Rate the three labels: [N, B] to [N, 3] logits."""
        return self.classify(states)

    def scores(self, logits: Tensor) -> Tensor:
        """Give the [3] probabilities of the labels; they sum to 1."""
        return logits.softmax(dim=0)
