"""Answer vocabularies: which answers a head chooses from, in which order."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from twelve.errors import DataError
from twelve.tasks.kinds.normalise import normalise, soft_scores
from twelve.tasks.records import AnsweredQuestion

MINIMUM_COUNT = 9
"""Questions that must have an answer for it to be kept; gives VQAv2's 3129 (bottom-up attention, arXiv:1707.07998)."""


@dataclass(frozen=True)
class AnswerVocabulary:
    """The answers of a head, each at its index."""

    answers: tuple[str, ...]

    def __post_init__(self) -> None:
        twice = [answer for answer, count in Counter(self.answers).items() if count > 1]
        if twice:
            raise DataError(f"an answer vocabulary holds each answer once; got {twice[0]!r} more than once")

    def __len__(self) -> int:
        return len(self.answers)

    def index(self, answer: str) -> int | None:
        """Give an answer's place, or None if the vocabulary lacks it."""
        return self._places.get(answer)

    def target(self, answers: Sequence[str]) -> dict[int, float]:
        """Give the soft score of each answer that annotators gave and the vocabulary has, by its place."""
        scores = soft_scores(answers)
        return {self._places[answer]: score for answer, score in scores.items() if answer in self._places}

    def save(self, path: Path) -> None:
        """Write the answers as a JSON list."""
        path.write_text(json.dumps(self.answers, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "AnswerVocabulary":
        """Read a JSON list of answers: one that `save` wrote, or a published one.

        Raises:
            DataError: The file is no JSON list of different texts.
        """
        try:
            answers = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: expected a JSON list of answers, got: {error}") from error
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise DataError(f"{path}: expected a JSON list of texts")
        return cls(tuple(answers))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {answer: place for place, answer in enumerate(self.answers)}


def build(
    questions: Iterable[AnsweredQuestion],
    *,
    minimum_count: int = MINIMUM_COUNT,
    canonical: Callable[[str], str] = normalise,
) -> AnswerVocabulary:
    """Build a vocabulary from training questions, the most frequent answer first, equally frequent ones by text.

    Args:
        questions: Each counts once, for the answer most of its annotators gave; of equals, the first by text.
        minimum_count: Rarer answers are left out.
        canonical: What makes two answers one. GQA compares texts as they stand: give it `str`.
    """
    known: dict[str, str] = {}

    def canonical_once(answer: str) -> str:
        if answer not in known:
            known[answer] = canonical(answer)
        return known[answer]

    counts = Counter(
        _majority([canonical_once(answer) for answer in each.answers]) for each in questions if each.answers
    )
    kept = [(answer, count) for answer, count in counts.items() if answer and count >= minimum_count]
    return AnswerVocabulary(tuple(answer for answer, _ in sorted(kept, key=_most_frequent_first)))


def _majority(answers: Sequence[str]) -> str:
    return min(Counter(answers).items(), key=_most_frequent_first)[0]


def _most_frequent_first(counted: tuple[str, int]) -> tuple[int, str]:
    answer, count = counted
    return (-count, answer)
