"""VQAv2: open questions, ten annotators (arXiv:1612.00837)."""

from collections.abc import Sequence
from typing import Any

from twelve.tasks.kinds.answering import Answering
from twelve.tasks.kinds.normalise import soft_scores, vqa_accuracy


class VqaV2(Answering):
    """Visual question answering over ten annotators."""

    name = "vqa-v2"
    token = 1
    head = "vqa"
    most_tokens = 23
    batch_size = 128
    summary = "Answer an open question about a picture (VQAv2)."

    def metric(self, answer: Any, target: Sequence[str]) -> float:
        """Rate by VQA accuracy: leave one annotator out, three agreeing are enough."""
        return vqa_accuracy(answer, target)

    def soft_scores(self, answers: Sequence[str]) -> dict[str, float]:
        """Score answers by votes: four or more are as good as all ten."""
        return soft_scores(answers)


TASK = VqaV2()
