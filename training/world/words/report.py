"""How much can be answered without looking: `python -m training.world.words.report DATA_ROOT`.

For every task and split: how many items, the commonest answers, and what two readers score who never see a picture. One
knows the commonest answer in train to the first words of a question, the other to the very question; what train never
asked, they answer by the first words, then by the commonest answer of all.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.data.readers import available_splits, read
from twelve.tasks.records import AnsweredQuestion, ComparedImages, EntailedStatement, GuessedObject, PointedBox

OPENING_WORDS: Final = 3
COMMONEST_SHOWN: Final = 6

Item = tuple[str, str]
"""What is asked, and the right answer."""


class BlindReader:
    """Answers with what was commonest in train."""

    def __init__(self, items: Iterable[Item], words: int | None) -> None:
        """Read train.

        Args:
            items: Of train.
            words: So many first words are told apart, None for all.
        """
        self._words = words
        self._answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for text, answer in items:
            for key in self._keys(text):
                self._answers[key][answer] += 1

    def answer(self, text: str) -> str:
        """Give the commonest answer to the longest part of the text that train had."""
        known = next((self._answers[key] for key in self._keys(text) if key in self._answers), Counter({"": 1}))
        return known.most_common(1)[0][0]

    def score(self, items: Iterable[Item]) -> float:
        """Give the share of items answered right."""
        right = [self.answer(text) == answer for text, answer in items]
        return sum(right) / len(right) if right else 0.0

    def _keys(self, text: str) -> list[str]:
        whole = [] if self._words is not None else [text]
        return [*whole, " ".join(text.split()[: self._words or OPENING_WORDS]), ""]


def _answered(record: AnsweredQuestion) -> Item:
    return record.question, Counter(record.answers).most_common(1)[0][0]


def _compared(record: ComparedImages) -> Item:
    return record.statement, str(record.label)


def _entailed(record: EntailedStatement) -> Item:
    return record.statement, record.label


def _pointed(record: PointedBox) -> Item:
    return record.question, str(record.answer)


def _guessed(record: GuessedObject) -> Item:
    return " ".join(f"{question} {answer}" for question, answer in record.dialog), str(record.answer)


ITEMS: Final[Mapping[str, Callable[[Any], Item]]] = {
    "vqa-v2": _answered,
    "vg-qa": _answered,
    "gqa": _answered,
    "visual7w": _pointed,
    "guesswhat": _guessed,
    "nlvr2": _compared,
    "snli-ve": _entailed,
}
"""Tasks whose items have an answer in words, a label or a number of a box."""

COUNTED: Final = ("coco-retrieval", "flickr30k-retrieval", "refcoco", "refcoco+", "refcocog")
"""Tasks that nobody can answer blindly: their items are only counted."""


@dataclass(frozen=True)
class Line:
    """One split of one task.

    Attributes:
        task: Its name.
        split: Its name.
        items: How many.
        by_opening: What a reader scores who knows the commonest answer to the first words.
        by_text: Likewise to the very text.
        commonest: Answers with their shares.
    """

    task: str
    split: str
    items: int
    by_opening: float
    by_text: float
    commonest: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        answers = ", ".join(f"{answer} {share:.1%}" for answer, share in self.commonest)
        return (
            f"{self.task:<20} {self.split:<6} {self.items:>7,}  opening {self.by_opening:6.1%}  "
            f"text {self.by_text:6.1%}  {answers}"
        )


def balance(root: Path) -> Iterator[Line]:
    """Give a line for every split of every task that has answers."""
    for task, item in ITEMS.items():
        train = [item(record) for record in read(task, root, "train")]
        by_opening, by_text = BlindReader(train, OPENING_WORDS), BlindReader(train, None)
        for split in available_splits(task, root):
            items = [item(record) for record in read(task, root, split)]
            yield _line(task, split, items, by_opening=by_opening, by_text=by_text)


def _line(task: str, split: str, items: list[Item], *, by_opening: BlindReader, by_text: BlindReader) -> Line:
    answers = Counter(answer for _, answer in items)
    commonest = tuple((answer, count / len(items)) for answer, count in answers.most_common(COMMONEST_SHOWN))
    return Line(task, split, len(items), by_opening.score(items), by_text.score(items), commonest)


def main(root: Path) -> None:
    """Print the report of a data root."""
    for line in balance(root):
        print(line)
    for task in COUNTED:
        counts = (f"{split} {sum(1 for _ in read(task, root, split)):,}" for split in available_splits(task, root))
        print(f"{task:<20} {'  '.join(counts)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
