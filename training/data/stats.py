"""What the data sets are made of: rows, pictures, answers, lengths of texts, boxes; as a table, as bars, as numbers."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table

from training.data.identity import pictures_of
from training.data.readers import Record
from training.data.sets import DataSets
from twelve.tasks.records import (
    AnsweredQuestion,
    BoxXYXY,
    CaptionedImage,
    ComparedImages,
    EntailedStatement,
    GuessedObject,
    PointedBox,
    ReferredBox,
)

MOST_FREQUENT: Final = 8
"""Answers that have a bar of their own."""

LENGTH_BINS: Final = 10
"""Bars of a plot of lengths, at most."""

BAR_WIDTH: Final = 40


class Facts(NamedTuple):
    """What is counted of one row."""

    texts: tuple[str, ...]
    answers: tuple[str, ...] = ()
    boxes_px: tuple[BoxXYXY, ...] = ()


FACTS: Final[Mapping[type, Callable[[Any], Facts]]] = MappingProxyType(
    {
        AnsweredQuestion: lambda row: Facts((row.question,), row.answers),
        CaptionedImage: lambda row: Facts(row.captions),
        ReferredBox: lambda row: Facts((row.expression,), boxes_px=(row.box_px,)),
        PointedBox: lambda row: Facts((row.question,), boxes_px=row.boxes_px),
        GuessedObject: lambda row: Facts(
            (" ".join(f"{question} {answer}" for question, answer in row.dialog),),
            tuple(answer for _, answer in row.dialog),
            row.boxes_px,
        ),
        ComparedImages: lambda row: Facts((row.statement,), (str(row.label),)),
        EntailedStatement: lambda row: Facts((row.statement,), (row.label,)),
    }
)
"""By kind of record. A game of GuessWhat?! is one text, its questions with their answers."""


@dataclass
class Statistics:
    """Counts over the rows of one split.

    Attributes:
        rows: As read.
        words: How many texts have so many words.
        answers: How often each is given.
        boxes: The different boxes of each picture, by path.
    """

    rows: int = 0
    words: Counter[int] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    boxes: dict[str, set[BoxXYXY]] = field(default_factory=lambda: defaultdict(set))

    def add(self, record: Record) -> None:
        """Count one row."""
        facts = FACTS[type(record)](record)
        self.rows += 1
        self.words.update(len(text.split()) for text in facts.texts)
        self.answers.update(facts.answers)
        for image in pictures_of(record):
            self.boxes[image].update(facts.boxes_px)

    @property
    def median_words(self) -> float:
        """Give the middle length of the texts."""
        return median(self.words.elements()) if self.words else 0

    @property
    def boxes_by_number(self) -> Counter[int]:
        """Count the pictures with so many boxes."""
        return Counter(len(boxes) for boxes in self.boxes.values() if boxes)

    @property
    def mean_boxes(self) -> float:
        """Give the boxes of a picture that has any."""
        numbers = self.boxes_by_number
        return sum(number * count for number, count in numbers.items()) / numbers.total() if numbers else 0

    def as_json(self) -> dict[str, Any]:
        """Give plain values, the answers from the most frequent on."""
        return {
            "rows": self.rows,
            "texts": self.words.total(),
            "pictures": len(self.boxes),
            "words": dict(sorted(self.words.items())),
            "answers": dict(_ranked(self.answers)),
            "boxes_by_picture": dict(sorted(self.boxes_by_number.items())),
        }


Gathered = dict[str, dict[str, Statistics]]
"""By task and split."""


def gather(sets: DataSets, tasks: Iterable[str]) -> Gathered:
    """Count every row of the tasks; those without files are not named.

    Raises:
        DataError: A file is not as its format says.
    """
    found = {task: {split: _count(sets.read(task, split)) for split in sets.splits(task)} for task in tasks}
    return {task: splits for task, splits in found.items() if splits}


def table(gathered: Gathered) -> Table:
    """Lay out a row for each split."""
    made = Table(title="What the data sets hold")
    made.add_column("task")
    made.add_column("split")
    for heading in ("rows", "texts", "pictures", "different answers", "words: median", "most", "boxes a picture"):
        made.add_column(heading, justify="right")
    for task, splits in gathered.items():
        for split, one in splits.items():
            made.add_row(task, split, *_cells(one))
    return made


def plots(gathered: Gathered) -> Iterator[RenderableType]:
    """Draw bars for each task, over all of its splits: lengths of texts, answers, boxes of a picture."""
    for task, splits in gathered.items():
        words, answers, boxes = Counter[int](), Counter[str](), Counter[int]()
        for one in splits.values():
            words, answers, boxes = words + one.words, answers + one.answers, boxes + one.boxes_by_number
        yield from _bars(f"{task}: words of a text", _binned(words))
        yield from _bars(f"{task}: most frequent answers", _ranked(answers)[:MOST_FREQUENT])
        yield from _bars(f"{task}: boxes of a picture", _binned(boxes))


def _count(records: Iterable[Record]) -> Statistics:
    counted = Statistics()
    for record in records:
        counted.add(record)
    return counted


def _cells(one: Statistics) -> tuple[str, ...]:
    boxes = f"{one.mean_boxes:.1f}" if one.boxes_by_number else ""
    answers = f"{len(one.answers):,}" if one.answers else ""
    lengths = f"{one.median_words:g}", f"{max(one.words, default=0)}"
    return (f"{one.rows:,}", f"{one.words.total():,}", f"{len(one.boxes):,}", answers, *lengths, boxes)


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Order answers, the most frequent first, equally frequent ones by text."""
    return sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))


def _binned(counts: Counter[int]) -> list[tuple[str, int]]:
    """Gather numbers into at most LENGTH_BINS bins of equal width."""
    if not counts:
        return []
    least, most = min(counts), max(counts)
    width = -(-(most - least + 1) // LENGTH_BINS)
    bins = Counter({start: 0 for start in range(least, most + 1, width)})
    for number, count in counts.items():
        bins[number - (number - least) % width] += count
    return [(str(start) if width == 1 else f"{start}–{start + width - 1}", bins[start]) for start in sorted(bins)]


def _bars(title: str, counts: Sequence[tuple[str, int]]) -> Iterator[Table]:
    """Draw one bar for each count, the longest as wide as there is room; nothing where there is nothing."""
    if not counts:
        return
    largest = max(count for _, count in counts)
    made = Table(title=title, title_justify="left", box=None, show_header=False)
    made.add_column(justify="right", no_wrap=True, max_width=BAR_WIDTH)
    for label, count in counts:
        made.add_row(label, Bar(largest, 0, count, width=BAR_WIDTH), f"{count:,}")
    yield made
