"""Answers from a vocabulary: one head for VQAv2 and Visual Genome QA, one for GQA (12-in-1, section 3.2).

Shapes: N rows · B fused width · A answers.
"""

from torch import Tensor, nn

from twelve.heads.base import Head, mlp
from twelve.model.config import Labels, ModelConfig

SELDOM = -4.6
"""Logit of a new head's every answer: right once in a hundred. From even odds, a hundred wrong answers would drown the
other tasks' gradients for the first hundred steps (arXiv:1708.02002, section 3.3)."""


class AnswersHead(Head):
    """A two-layer classifier trained with a sigmoid an answer: scores are independent, they do not sum to 1."""

    labels: Labels = "independent"

    def __init__(self, config: ModelConfig, answers: int) -> None:
        super().__init__()
        self.classify = mlp(config.bi_hidden_size, 2 * config.bi_hidden_size, answers, eps=config.layer_norm_eps)
        nn.init.constant_(self.classify.get_parameter("3.bias"), SELDOM)

    def forward(self, states: Tensor) -> Tensor:
        """Rate each answer: [N, B] to [N, A] logits."""
        return self.classify(states)


class VqaAnswersHead(AnswersHead):
    """The answers of VQAv2 and Visual Genome QA."""

    name = "vqa"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.vqa_labels)


class GqaAnswersHead(AnswersHead):
    """The answers of GQA."""

    name = "gqa"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.gqa_labels)
