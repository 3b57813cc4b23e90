"""GQA: dicts of questions by id, in one file a split or in a directory of files.

Files: gqa/{subset}_balanced_questions.json, or gqa/{subset}_all_questions.json; either name without ".json" may be a
directory of such files.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from training.data.entries import Entry
from training.data.faults import Fault, OnFault, each
from training.data.pictures import GenomePictures
from training.data.streams import stream
from twelve.tasks.records import AnsweredQuestion

_SUBSETS = {"train": "train", "val": "val", "test": "testdev", "novel": "novel"}
"""By split. The challenge keeps the answers of its test; everybody, 12-in-1 too, reports testdev."""

_KINDS = ("balanced", "all")
_IMAGE_ID = re.compile(r"n?\d+")


class GqaReader:
    """Reads GQA; a record's kind is the official semantic type (obj, attr, cat, rel, global)."""

    expects = "gqa/{train|val|testdev}_balanced_questions.json"

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that have a file or a directory."""
        return tuple(split for split in _SUBSETS if _files(root, split))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[AnsweredQuestion]:
        """Yield the questions in the order of their files."""
        pictures = GenomePictures(root)
        entries = (entry for name in _files(root, split) for entry in _entries(root, name))
        return each(lambda entry: _record(entry, pictures), entries, on_fault)


def _files(root: Path, split: str) -> list[str]:
    """Give the files of a split, relative to the root: the balanced questions if they are there, else all."""
    for kind in _KINDS:
        stem = f"gqa/{_SUBSETS[split]}_{kind}_questions"
        if (root / f"{stem}.json").is_file():
            return [f"{stem}.json"]
        found = sorted((root / stem).glob("*.json"), key=lambda path: (len(path.name), path.name))
        if found:
            return [f"{stem}/{path.name}" for path in found]
    return []


def _entries(root: Path, name: str) -> Iterator[Entry]:
    for element in stream(root, name):
        if element.position is not None or not element.key:
            raise Fault(name, row=element.key, reason="expected questions by their ids, got a list")
        yield Entry(element.value, name, element.key)


def _record(entry: Entry, pictures: GenomePictures) -> AnsweredQuestion:
    image_id = entry.matching("imageId", _IMAGE_ID, expected='digits, perhaps after an "n"')[0]
    return AnsweredQuestion(
        id=entry.row,
        image=pictures.path(image_id),
        question=entry.text("question"),
        answers=(entry.text("answer"),),
        kind=entry.entry("types").text("semantic"),
    )
