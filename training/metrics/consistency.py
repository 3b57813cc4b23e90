"""Grounding consistency: does a model that answers a question about a thing also find the thing?

Source: 12-in-1, the section on consistency across tasks: all pairs of a question and a referring expression about one
picture, each as heavy as the nouns and adjectives they share.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from training.metrics.figures import PLACES, Report, by_group
from training.metrics.prediction import Rated
from training.metrics.words import content_words

RIGHT_ANSWER = 0.5
"""VQA accuracy from which on a question counts as answered: two of ten annotators said so. The paper does not say."""


@dataclass(frozen=True)
class Pair:
    """A question and an expression about one picture.

    Attributes:
        weight: Content words they share; at least 1.
        answered: Whether the question was answered right.
        found: Whether the referent was found.
    """

    weight: int
    answered: bool
    found: bool


def pairs(
    questions: Iterable[Rated],
    expressions: Iterable[Rated],
    *,
    picture: Callable[[str], str],
    words: Callable[[str], frozenset[str]] = content_words,
) -> Iterator[Pair]:
    """Pair every question with every expression about the same picture; those that share no word drop out.

    Args:
        questions: Of VQAv2.
        expressions: Of RefCOCO and RefCOCO+.
        picture: Gives what is the same for two names of one picture.
        words: Gives a text's nouns and adjectives.
    """
    by_picture: Mapping[str, Sequence[tuple[frozenset[str], Rated]]] = by_group(
        (picture(one.record.image), (words(one.record.expression), one)) for one in expressions
    )
    for question in questions:
        asked = words(question.record.question)
        for named, expression in by_picture.get(picture(question.record.image), ()):
            if shared := len(asked & named):
                yield Pair(shared, question.value >= RIGHT_ANSWER, expression.value >= 1.0)


def report(paired: Iterable[Pair]) -> Report:
    """Give the weighted share of pairs with both right, beside what independent errors would give.

    Two accuracies alone make some pairs right twice: `independent` is the product of both, over the same pairs with
    the same weights, and `excess` what the model has beyond it. The paper reports consistency without that.
    """
    listed = list(paired)
    weight = sum(pair.weight for pair in listed)
    if not weight:
        return {"consistency": None, "pairs": 0}
    answered = sum(pair.weight for pair in listed if pair.answered) / weight
    found = sum(pair.weight for pair in listed if pair.found) / weight
    both = sum(pair.weight for pair in listed if pair.answered and pair.found) / weight
    shares = {
        "consistency": both,
        "answered": answered,
        "found": found,
        "independent": answered * found,
        "excess": both - answered * found,
    }
    return {**{name: round(share, PLACES) for name, share in shares.items()}, "pairs": len(listed)}
