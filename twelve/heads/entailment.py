"""Does the picture entail the statement, contradict it, or leave it open?

Source: 12-in-1, section 3.2, SNLI-VE.

Shapes: N rows · B fused width.
"""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from twelve.heads.base import Head, mlp
from twelve.model.config import Classifier, ModelConfig

LABELS = ("contradiction", "neutral", "entailment")
"""In the order of the published checkpoint's outputs."""


def _two_layer(config: ModelConfig) -> nn.Module:
    return mlp(config.bi_hidden_size, 2 * config.bi_hidden_size, len(LABELS), eps=config.layer_norm_eps)


def _linear(config: ModelConfig) -> nn.Module:
    return nn.Linear(config.bi_hidden_size, len(LABELS))


FORMS: Mapping[Classifier, Callable[[ModelConfig], nn.Module]] = {"two-layer": _two_layer, "linear": _linear}


class EntailmentHead(Head):
    """The paper's two-layer classifier, or the single linear layer of the released code, by `ModelConfig.heads`."""

    name = "entailment"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        switches = config.head_switches
        self.classify = FORMS[switches.entailment_classifier](config)
        self.labels = switches.entailment_labels

    def forward(self, states: Tensor) -> Tensor:
        """Rate the three labels: [N, B] to [N, 3] logits."""
        return self.classify(states)
