"""NLVR2: statements about two pictures.

Files: nlvr2/{train|dev|test1}.json; JSON lines, whatever their names say.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from training.data.entries import Entry, Once
from training.data.faults import OnFault, each
from training.data.files import is_file, is_there
from training.data.streams import json_lines
from twelve.tasks.records import ComparedImages

_STEMS = {"train": "train", "val": "dev", "test": "test1", "novel": "novel"}
_IDENTIFIER = re.compile(r"(?P<pair>(?P<group>\w+)-\d+-\d+)-\d+", re.ASCII)
_LABELS = {"True": True, "False": False}


class Nlvr2Reader:
    """Reads NLVR2; "test" is test1, the public one."""

    expects = "nlvr2/{train|dev|test1}.json"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files that are there."""
        return tuple(name for name in map(_file, _STEMS) if is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that have a file."""
        return tuple(split for split in _STEMS if is_there(root, _file(split)))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[ComparedImages]:
        """Yield the statements in the file's order."""
        record = partial(_record, _STEMS[split], Once())
        return each(record, json_lines(root, _file(split), on_fault), on_fault)


def _file(split: str) -> str:
    return f"nlvr2/{_STEMS[split]}.json"


def _record(group: str, once: Once, entry: Entry) -> ComparedImages:
    expected = f"{group}-{{set}}-{{pair}}-{{sentence}}"
    identifier = entry.matching("identifier", _IDENTIFIER, expected=expected)
    if identifier["group"] != group:
        raise entry.fault("identifier", expected=expected)
    pair = identifier["pair"]
    folder = f"train/{entry.natural('directory')}" if entry.has("directory") else group
    return ComparedImages(
        id=once.check(entry, "identifier", identifier[0]),
        images=(f"images/nlvr2/{folder}/{pair}-img0.png", f"images/nlvr2/{folder}/{pair}-img1.png"),
        statement=entry.text("sentence"),
        label=_LABELS[entry.one_of("label", _LABELS)],
    )
