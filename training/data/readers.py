"""Which reader reads which task's files: the one table from a task's name to its data."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from training.data import captions, refer
from training.data.faults import OnFault, ignore, refuse
from training.data.gqa import GqaReader
from training.data.guesswhat import GuessWhatReader
from training.data.nlvr2 import Nlvr2Reader
from training.data.snli_ve import SnliVeReader
from training.data.vg import VgQaReader
from training.data.visual7w import Visual7wReader
from training.data.vqa import VqaReader
from twelve.errors import DataError
from twelve.tasks.records import (
    AnsweredQuestion,
    CaptionedImage,
    ComparedImages,
    EntailedStatement,
    GuessedObject,
    PointedBox,
    ReferredBox,
)

Record = (
    AnsweredQuestion | CaptionedImage | ReferredBox | PointedBox | GuessedObject | ComparedImages | EntailedStatement
)


class Reader(Protocol):
    """Turns the official files of one data set into records."""

    @property
    def expects(self) -> str:
        """Give the files it reads, relative to the root, in words."""

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files it reads that are there, relative to the root."""

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that the root has: train, val, test, novel, and a few of their own."""

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[Record]:
        """Yield the records of a split that the root has; each fault goes to `on_fault`."""


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "vqa-v2": VqaReader(),
        "vg-qa": VgQaReader(),
        "gqa": GqaReader(),
        "coco-retrieval": captions.COCO,
        "flickr30k-retrieval": captions.FLICKR30K,
        "refcoco": refer.REFCOCO,
        "refcoco+": refer.REFCOCO_PLUS,
        "refcocog": refer.REFCOCOG,
        "visual7w": Visual7wReader(),
        "guesswhat": GuessWhatReader(),
        "nlvr2": Nlvr2Reader(),
        "snli-ve": SnliVeReader(),
    }
)


def read(task_name: str, root: Path, split: str, *, on_fault: OnFault = refuse) -> Iterator[Record]:
    """Read a task's official files, item by item.

    Args:
        task_name: As in `READERS`.
        root: The folder that holds all data sets.
        split: train, val, test or novel; RefCOCO and RefCOCO+ also have testA and testB.
        on_fault: Called with each row that cannot be read; raises it by default.

    Raises:
        DataError: There is no such task or split, or (while reading) a file is not as its format says.
    """
    reader = _reader(task_name)
    if split not in reader.splits(root, ignore):
        found = ", ".join(reader.splits(root, on_fault)) or "no split at all"
        raise DataError(
            f"task {task_name!r} has no split {split!r} under {root}: found {found}; expected in {reader.expects}"
        )
    return reader.read(root, split, on_fault)


def available_splits(task_name: str, root: Path) -> tuple[str, ...]:
    """Give the splits of a task whose files are under the root; none if there is no file.

    Raises:
        DataError: There is no such task, or a row does not tell its split.
    """
    return _reader(task_name).splits(root, refuse)


def none_here(root: Path, tasks: Iterable[str] = READERS) -> DataError:
    """Make the error of a root that has none of the data sets."""
    return DataError(f"{root}: no data set is here; expected at least one of {expected(tasks)}")


def expected(tasks: Iterable[str] = READERS) -> str:
    """Name the files that the tasks are read from."""
    return "; ".join(_reader(task).expects for task in tasks)


def _reader(task_name: str) -> Reader:
    if task_name not in READERS:
        raise DataError(f"no reader for task {task_name!r}; there are readers for {', '.join(READERS)}")
    return READERS[task_name]
