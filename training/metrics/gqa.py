"""GQA as its authors evaluate it: accuracy, consistency, validity, plausibility, distribution."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from training.data.gqa import QuestionChoices, QuestionFacts
from training.metrics.figures import PLACES, Report, by_group, figure, figures, mean
from training.metrics.prediction import Prediction

OPEN = "query"
"""The structural type whose answers are not yes, no or one of two."""

COMMON = "Common"
"""In the detailed type of questions that ask what two things share …"""

SHARED = frozenset({"color", "material", "shape"})
"""… which these may answer, whatever the choices file says."""

DISTRIBUTION_SCALE = 100
"""The official distribution score is a mean chi square divided by this."""


def report(
    predictions: Sequence[Prediction], facts: Mapping[str, QuestionFacts], choices: Mapping[str, QuestionChoices]
) -> Report:
    """Rate answers; balanced questions count, the others serve consistency.

    Args:
        predictions: Of answered questions.
        facts: By question, of all that were asked.
        choices: By question; validity and plausibility are left out where there are none.

    Returns:
        The figures.

    Source: eval.py, published with the data set.
    Differs: that asks for an answer to every entailed question and stops without; here a question's consistency is
        taken over those of them that were asked. Grounding is left out: it rates attention maps, which predictions
        do not have. Without choices the official code reports 0 for both figures that need them.
    """
    balanced = [one for one in predictions if facts[one.record.id].is_balanced]
    rated = [(facts[one.record.id], float(is_right(one))) for one in balanced]
    return {
        "accuracy": figure(value for _, value in rated),
        "binary": figure(value for of, value in rated if of.structural != OPEN),
        "open": figure(value for of, value in rated if of.structural == OPEN),
        "consistency": figure(consistencies(predictions, facts)),
        **_scope(balanced, facts, choices),
        "distribution": _rounded(distribution(balanced, facts)),
        "by structural type": figures((of.structural, value) for of, value in rated),
        "by semantic type": figures((one.record.kind, float(is_right(one))) for one in balanced),
    }


def is_right(prediction: Prediction) -> bool:
    """Say whether an answer is, letter by letter, the one of the scene graph."""
    return prediction.answer in prediction.record.answers


def consistencies(predictions: Sequence[Prediction], facts: Mapping[str, QuestionFacts]) -> list[float]:
    """Give, for each balanced question answered right, the share of its entailed questions answered right."""
    right = {one.record.id: is_right(one) for one in predictions}
    shares = []
    for question in (id_ for id_, is_so in right.items() if is_so and facts[id_].is_balanced):
        followed = [float(right[other]) for other in facts[question].entailed if other != question and other in right]
        if followed:
            shares.append(mean(followed))
    return shares


def distribution(predictions: Sequence[Prediction], facts: Mapping[str, QuestionFacts]) -> float | None:
    """Compare how often each answer was given with how often it is right, group by group; lower is better.

    Returns:
        The mean chi square of the groups by their sizes, over 100; None where no question is of a group.
    """
    grouped = by_group((facts[one.record.id].group, one) for one in predictions)
    named = {group: asked for group, asked in grouped.items() if group}
    if not named:
        return None
    weighted = sum(_chi_square(asked) * len(asked) for asked in named.values())
    return weighted / sum(len(asked) for asked in named.values()) / DISTRIBUTION_SCALE


def _chi_square(predictions: Sequence[Prediction]) -> float:
    """Sum over the right answers only; what is never right is not held against a model here."""
    gold = Counter(one.record.answers[0] for one in predictions)
    given = Counter(one.answer for one in predictions)
    return sum((given[answer] - count) ** 2 / count for answer, count in gold.items())


def _scope(
    predictions: Sequence[Prediction], facts: Mapping[str, QuestionFacts], choices: Mapping[str, QuestionChoices]
) -> dict[str, object]:
    if not choices:
        return {}
    asked = [(one.answer, facts[one.record.id], choices[one.record.id]) for one in predictions]
    return {
        "validity": figure(_belongs((answer, of, chosen.valid) for answer, of, chosen in asked)),
        "plausibility": figure(_belongs((answer, of, chosen.plausible) for answer, of, chosen in asked)),
    }


def _belongs(asked: Iterable[tuple[str, QuestionFacts, frozenset[str]]]) -> list[float]:
    return [float(answer in (SHARED if COMMON in of.detailed else allowed)) for answer, of, allowed in asked]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, PLACES)
