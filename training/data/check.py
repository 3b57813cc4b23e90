"""Reads everything under a data root and tells what is wrong with it, as a compiler would."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from training.data.entities import linked_captions
from training.data.faults import Fault, OnFault
from training.data.readers import READERS

ENTITIES = "flickr30k-entities"
"""What Flickr30k's linked captions are counted under; no task reads them, but they are checked."""


@dataclass
class Inspection:
    """What a data root holds.

    Attributes:
        counts: Readable records, by data set and split; only of data sets that are there.
        faults: Each once, in the order they were met.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


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
    captions = _count(partial(linked_captions, root, report), report)
    if captions:
        inspection.counts[ENTITIES] = {"all": captions}
    if not inspection.counts and not inspection.faults:
        expected = "; ".join(reader.expects for reader in READERS.values())
        report(Fault(str(root), reason=f"no data set is here; expected at least one of {expected}"))
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
