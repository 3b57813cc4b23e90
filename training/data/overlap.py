"""How much of each task's test a model that learns another task has seen: Table 1 of 12-in-1 (arXiv:1912.02315)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from training.data.census import Census, learned, tested

NONE, NOT_ASKED = "·", "–"


@dataclass(frozen=True)
class Overlap:
    """Pictures of one task's tests, and how many of them other tasks' train or val hold.

    Attributes:
        tested: Different pictures of the tests.
        seen: By task, how many of them are in its train or val; the task's own are counted as well.
    """

    tested: int
    seen: Mapping[str, int]

    def share(self, task: str) -> float | None:
        """Give the part of the test that a task's train and val hold; None where there is no test."""
        return self.seen[task] / self.tested if self.tested else None


def overlaps(census: Census) -> dict[str, Overlap]:
    """Compare every task's tests with every task's train and val."""
    held = {task: learned(splits) for task, splits in census.items()}
    return {
        task: Overlap(len(pictures), {other: len(pictures & held[other]) for other in census})
        for task, pictures in ((task, tested(splits)) for task, splits in census.items())
    }


def as_json(found: Mapping[str, Overlap]) -> dict[str, Any]:
    """Give plain values."""
    return {task: asdict(one) for task, one in found.items()}


def table(found: Mapping[str, Overlap]) -> Table:
    """Lay the shares out: a row for each task's tests, a column for each task's train and val, per cent."""
    made = Table(title="Test pictures of each row that are in train or val of each column, in per cent")
    made.add_column("test of")
    made.add_column("pictures", justify="right")
    letters = {task: chr(ord("A") + place) for place, task in enumerate(found)}
    for letter in letters.values():
        made.add_column(letter, justify="right")
    for task, one in found.items():
        made.add_row(f"{letters[task]} {task}", f"{one.tested:,}", *(_cell(one.share(other)) for other in found))
    return made


def _cell(share: float | None) -> str:
    if share is None:
        return NOT_ASKED
    return f"{100 * share:.0f}" if share else NONE
