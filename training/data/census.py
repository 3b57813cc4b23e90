"""How many rows of each task and split show which pictures: all that overlap and cleaning need to know of the files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from training.data.identity import Identities
from training.data.readers import READERS, available_splits, none_here, read

LEARNED = ("train", "val")
"""Splits that a model is trained on or chosen by."""

ASKED = ("submission",)
"""GQA's list of everything that its challenge wants answered, val's questions among them. Every split that is neither
learned nor this is a test: test, testA, testB, test-dev, …"""

Shown = tuple[str, ...]
"""The identities of the pictures of one row: two for NLVR2, else one."""

Census = Mapping[str, Mapping[str, Counter[Shown]]]
"""By task and split: how many rows show these pictures."""


def take(root: Path) -> dict[str, dict[str, Counter[Shown]]]:
    """Read every data set under a root.

    Raises:
        DataError: A file is not as its format says, Visual Genome's list lacks a picture, or no data set is there.
    """
    identities = Identities(root)
    census = {task: dict(_splits(task, root, identities)) for task in READERS}
    identities.refuse_unlisted()
    found = {task: splits for task, splits in census.items() if splits}
    if not found:
        raise none_here(root)
    return found


def count(records: Iterable[object], identities: Identities) -> Counter[Shown]:
    """Count the rows of one split by the pictures they show."""
    return Counter(map(identities.of_record, records))


def learned(splits: Mapping[str, Counter[Shown]]) -> frozenset[str]:
    """Give the pictures of a task's train and val."""
    return _pictures(splits[name] for name in splits if name in LEARNED)


def tested(splits: Mapping[str, Counter[Shown]]) -> frozenset[str]:
    """Give the pictures of a task's tests."""
    return _pictures(tests(splits).values())


def tests(splits: Mapping[str, Counter[Shown]]) -> dict[str, Counter[Shown]]:
    """Give a task's tests by their names."""
    return {name: counts for name, counts in splits.items() if name not in (*LEARNED, *ASKED)}


def _splits(task: str, root: Path, identities: Identities) -> Iterator[tuple[str, Counter[Shown]]]:
    for split in available_splits(task, root):
        yield split, count(read(task, root, split), identities)


def _pictures(counts: Iterable[Counter[Shown]]) -> frozenset[str]:
    return frozenset(picture for count in counts for shown in count for picture in shown)
