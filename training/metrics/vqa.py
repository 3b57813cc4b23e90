"""VQAv2 as its challenge evaluates it: overall, by answer type, by question type."""

from collections.abc import Sequence

from training.metrics.figures import Report, figure, figures
from training.metrics.prediction import Prediction
from twelve.tasks.kinds.normalise import AGREEMENT, normalise_answer, without_marks


def challenge_accuracy(answer: str, answers: Sequence[str]) -> float:
    """Give the accuracy of one answer, oddities included.

    Args:
        answer: What the model said; fully normalised here.
        answers: What the annotators said, as the file has it. Only where two of them differ are their marks
            stripped; case, articles and number words stay, so that for instance "none" is never matched.

    Returns:
        The mean, over leaving each annotator out, of min(others that agree / 3, 1).

    Raises:
        ValueError: Nobody answered.

    Source: VQAEval.evaluate (GT-Vision-Lab/VQA at c4e6a0e).
    Differs: from `twelve.tasks.kinds.normalise.vqa_accuracy`, by which items are rated one by one: that one
        normalises both sides fully. Full stops beyond the 32nd of an answer stay in the official code, which passes a
        flag where a count is expected; here they go as well.
    """
    if not answers:
        raise ValueError("an answer is compared with those of annotators; got none")
    said = normalise_answer(answer)
    given = [without_marks(other) for other in answers] if len(set(answers)) > 1 else answers
    agrees = [other == said for other in given]
    return sum(min((sum(agrees) - own) / AGREEMENT, 1.0) for own in agrees) / len(agrees)


def report(predictions: Sequence[Prediction]) -> Report:
    """Rate answers to questions that annotators answered."""
    rated = [(one.record, challenge_accuracy(one.answer, one.record.answers)) for one in predictions]
    return {
        "accuracy": figure(value for _, value in rated),
        "by answer type": figures((record.answer_kind, value) for record, value in rated),
        "by question type": figures((record.kind, value) for record, value in rated),
    }
