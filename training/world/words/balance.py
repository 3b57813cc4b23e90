"""Keeping answers balanced, so that nobody can answer without looking at the picture.

CLEVR (arXiv:1612.06890) rejects a question whose answer is already too frequent among the questions of its template.
Here the same is kept twice: over a family of questions, and over one subject ("color|car"), which is all that a blind
model reads.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

SLACK: Final = 2
"""Two questions of a family may be too many before rejection begins."""

RATIO: Final = 1.1
"""An answer out of many may be so much more frequent than the rarest (CLEVR, generate_questions.py)."""

OPEN_RATIO: Final = 1.35
"""Where the answers are not listed beforehand, one may be so much more frequent than the mean."""


class Balance:
    """Counts which answers were given to what, and says whether one more is welcome."""

    def __init__(self) -> None:
        self._of_family: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._of_subject: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def lead(self, subject: str, answer: str, options: Sequence[str]) -> int:
        """Say how many more questions about this subject have this answer than the rarest of its options."""
        return _lead(self._of_subject[subject], answer, options)

    def family_lead(self, family: str, answer: str, options: Sequence[str]) -> int:
        """Likewise, over the whole family."""
        return _lead(self._of_family[family], answer, options)

    def welcomes(self, family: str, subject: str, *, answer: str, options: Sequence[str]) -> bool:
        """Say whether one more such answer leaves the family, and a subject with two answers, balanced."""
        counts = self._of_family[family]
        if not options:
            return counts[answer] < SLACK + OPEN_RATIO * _mean(counts)
        if len(options) == 2 and self.lead(subject, answer, options) > 0:
            return False
        rarest = min(counts[option] for option in options)
        allowed = rarest if len(options) == 2 else RATIO * rarest
        return counts[answer] < SLACK + allowed

    def add(self, family: str, subject: str, answer: str) -> None:
        """Count a question that was kept."""
        self._of_family[family][answer] += 1
        self._of_subject[subject][answer] += 1


class Shares:
    """Deals a total out to families by weight."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        total = sum(weights.values())
        self._weights = {family: weight / total for family, weight in weights.items()}
        self._counts: Counter[str] = Counter()

    def by_need(self) -> list[str]:
        """List the families, the one that lags furthest behind its share first."""
        total = self._counts.total() + 1
        return sorted(self._weights, key=lambda family: self._counts[family] - self._weights[family] * total)

    def add(self, family: str) -> None:
        """Count an item of a family."""
        self._counts[family] += 1


def _lead(counts: Counter[str], answer: str, options: Sequence[str]) -> int:
    rarest = min((counts[option] for option in options), default=0)
    return counts[answer] - rarest


def _mean(counts: Counter[str]) -> float:
    return counts.total() / len(counts) if counts else 0.0
