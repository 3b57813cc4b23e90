"""Answer vocabularies: which answers a head chooses from, in which order."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from twelve.errors import DataError
from twelve.tasks.base import AnswerList
from twelve.tasks.kinds.normalise import normalise_answer
from twelve.tasks.records import AnsweredQuestion

MINIMUM_COUNT = 9
"""Questions that must have an answer for it to be kept; gives VQAv2's 3129 (bottom-up attention, arXiv:1707.07998)."""


def save(answers: AnswerList, path: Path) -> None:
    """Write answers as a JSON list, one a line."""
    path.write_text(json.dumps(answers.answers, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path) -> AnswerList:
    """Read a JSON list of answers: one that `save` wrote, or a published one.

    Raises:
        DataError: The file is no JSON list of different texts.
    """
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a JSON list of answers, got: {error}") from error
    if not isinstance(answers, list):
        raise DataError(f"{path}: expected a JSON list of answers, got: {type(answers).__name__}")
    for place, answer in enumerate(answers):
        if not isinstance(answer, str):
            raise DataError(f"{path}:[{place}]: expected a text, got {answer!r:.60}")
    twice = [answer for answer, count in Counter(answers).items() if count > 1]
    if twice:
        raise DataError(f"{path}:[{answers.index(twice[0])}]: expected each answer once, got {twice[0]!r} again")
    return AnswerList(tuple(answers))


def build(
    questions: Iterable[AnsweredQuestion],
    *,
    minimum_count: int = MINIMUM_COUNT,
    canonical: Callable[[str], str] = normalise_answer,
) -> AnswerList:
    """Build a vocabulary from training questions, the most frequent answer first, equally frequent ones by text.

    Args:
        questions: Each counts once, for the answer most of its annotators gave, if they gave any; of equals, the first
            by text.
        minimum_count: Rarer answers are left out.
        canonical: What makes two answers one. GQA compares texts as they stand: give it `str`.

    Differs: an answer of which normalisation leaves nothing ("a", "the") is left out; the published list has one "".
    """
    counts = Counter(_majorities(questions, canonical))
    kept = [(answer, count) for answer, count in counts.items() if answer and count >= minimum_count]
    return AnswerList(tuple(answer for answer, _ in sorted(kept, key=_most_frequent_first)))


def _majorities(questions: Iterable[AnsweredQuestion], canonical: Callable[[str], str]) -> Iterator[str]:
    known: dict[str, str] = {}  # VQAv2 has four million answers, but few different ones
    for question in questions:
        for answer in set(question.answers) - known.keys():
            known[answer] = canonical(answer)
        given = [known[answer] for answer in question.answers if answer.strip()]
        if given:
            yield _majority(given)


def _majority(answers: Sequence[str]) -> str:
    return min(Counter(answers).items(), key=_most_frequent_first)[0]


def _most_frequent_first(counted: tuple[str, int]) -> tuple[int, str]:
    answer, count = counted
    return (-count, answer)
