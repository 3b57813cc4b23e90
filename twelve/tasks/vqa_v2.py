"""VQAv2: open questions, ten annotators (arXiv:1612.00837)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from twelve.tasks.kinds.answering import Answering
from twelve.tasks.kinds.normalise import normalise_answer, vqa_accuracy

SCORE_OF_VOTES = (0.0, 0.3, 0.6, 0.9, 1.0)
"""By how many of the ten annotators gave the answer; four or more are as good as all (bottom-up attention, 12-in-1)."""


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
        """Score answers by votes."""
        votes = Counter(normalise_answer(answer) for answer in answers)
        return {answer: SCORE_OF_VOTES[min(count, len(SCORE_OF_VOTES) - 1)] for answer, count in votes.items()}


TASK = VqaV2()
