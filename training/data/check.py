"""Reads everything under a data root and tells what is wrong with it, as a compiler would."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from training.data.companions import COMPANIONS, Companion
from training.data.faults import Fault, OnFault
from training.data.files import unreadable
from training.data.readers import READERS, Reader, expected

_DATA_SUFFIXES = (".json", ".jsonl", ".jsonline", ".json.gz", ".jsonl.gz", ".p", ".pkl")
"""What rows come in; a file of such a name that nothing reads is spoken of."""

_PICTURE_FOLDERS = ("images", "pictures")
"""Not looked through: a hundred thousand pictures, no rows."""


@dataclass
class Inspection:
    """What a data root holds.

    Attributes:
        counts: Readable records, by data set and split; only of data sets that are there.
        beside: Readable rows of files that stand beside them, by kind.
        faults: Each once, in the order they were met.
        unread: Files that nothing reads. They may be anybody's, and are no faults; or misnamed, and are missed.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    beside: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unread: list[Fault] = field(default_factory=list)


def check(root: Path) -> list[Fault]:
    """Read every known file under a data root and give what is wrong."""
    return inspect(root).faults


def inspect(root: Path) -> Inspection:
    """Read every known file under a data root; give what is wrong, and how many records are right."""
    inspection = Inspection()
    report = _once(inspection.faults)
    for task_name in READERS:
        counts = _task_counts(task_name, root, report)
        if counts:
            inspection.counts[task_name] = counts
    for companion in COMPANIONS:
        for name in _files(companion, root, report):
            count = _count(partial(companion.read, root, name, report), report)
            inspection.beside[companion.name] = inspection.beside.get(companion.name, 0) + count
    inspection.unread.extend(_unread(root, report))
    if not inspection.counts and not inspection.faults:
        report(Fault(str(root), reason=f"no data set is here; expected at least one of {expected()}"))
    return inspection


def _once(faults: list[Fault]) -> OnFault:
    """Give a collector that passes over what it has: several splits may be read from one file."""
    messages: set[str] = set()

    def report(fault: Fault) -> None:
        if fault.message not in messages:
            messages.add(fault.message)
            faults.append(fault)

    return report


def _task_counts(task_name: str, root: Path, report: OnFault) -> dict[str, int]:
    reader = READERS[task_name]
    try:
        splits = reader.splits(root, report)
    except Fault as fault:
        report(fault)
        return {}
    return {split: _count(partial(reader.read, root, split, report), report) for split in splits}


def _count(read: Callable[[], Iterable[object]], report: OnFault) -> int:
    """Count what can be read; where a file breaks off, what came before."""
    count = 0
    try:
        for _ in read():
            count += 1
    except Fault as fault:
        report(fault)
    return count


def _files(source: Companion | Reader, root: Path, report: OnFault) -> Sequence[str]:
    try:
        return source.files(root)
    except Fault as fault:
        report(fault)
        return ()


def _unread(root: Path, report: OnFault) -> Iterator[Fault]:
    sources: Iterable[Companion | Reader] = (*READERS.values(), *COMPANIONS)
    read = {name for source in sources for name in _files(source, root, report)}
    for name in _data_files(root, report):
        if name not in read and (root / name).is_file():
            yield Fault(name, reason=f"nothing reads this file; {_expectation(name)}")


def _expectation(name: str) -> str:
    """Say what the readers look for in the folder of a file that they do not know."""
    folder = name.rpartition("/")[0]
    expected = [reader.expects for reader in READERS.values() if reader.expects.startswith(f"{folder}/")]
    return f"expected here: {'; '.join(expected)}" if folder and expected else "no data set keeps files here"


def _data_files(root: Path, report: OnFault) -> Iterator[str]:
    def shut(error: OSError) -> None:
        report(unreadable(os.path.relpath(error.filename, root), error))

    for folder, inner, names in os.walk(root, onerror=shut):
        inner[:] = sorted(name for name in inner if name not in _PICTURE_FOLDERS and not name.startswith("."))
        for name in sorted(names):
            if name.endswith(_DATA_SUFFIXES):
                yield (Path(folder) / name).relative_to(root).as_posix()
