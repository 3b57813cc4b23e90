"""SNLI-VE: does the picture entail the statement?

Files: snli-ve/snli_ve_{train|dev|test}.jsonl, of either release: the older one, which 12-in-1 read, spells the
picture's key "Flikr30kID" and ends its value in ".jpg".
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from training.data.entries import Entry, Once
from training.data.faults import OnFault, each
from training.data.files import is_file, is_there
from training.data.pictures import flickr30k_id, flickr30k_image
from training.data.streams import json_lines
from twelve.tasks.records import EntailedStatement

_STEMS = {"train": "train", "val": "dev", "test": "test", "novel": "novel"}
_IMAGE_KEY = "Flickr30K_ID"
_OLDER_IMAGE_KEY = "Flikr30kID"
_UNDECIDED = "-"
_LABELS = ("contradiction", "entailment", "neutral", _UNDECIDED)


class SnliVeReader:
    """Reads SNLI-VE; statements on which the annotators could not agree are left out."""

    expects = "snli-ve/snli_ve_{train|dev|test}.jsonl"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files that are there."""
        return tuple(name for name in map(_file, _STEMS) if is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that have a file."""
        return tuple(split for split in _STEMS if is_there(root, _file(split)))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[EntailedStatement]:
        """Yield the statements in the file's order."""
        return each(partial(_record, Once()), json_lines(root, _file(split), on_fault), on_fault)


def _file(split: str) -> str:
    return f"snli-ve/snli_ve_{_STEMS[split]}.jsonl"


def _record(once: Once, entry: Entry) -> EntailedStatement | None:
    label = entry.one_of("gold_label", _LABELS)
    if label == _UNDECIDED:
        return None
    image_key = _OLDER_IMAGE_KEY if entry.has(_OLDER_IMAGE_KEY) else _IMAGE_KEY
    return EntailedStatement(
        id=once.check(entry, "pairID", entry.text("pairID")),
        image=flickr30k_image(flickr30k_id(entry, image_key)),
        statement=entry.text("sentence2"),
        label=label,
        annotators=tuple(entry.texts("annotator_labels")) if entry.has("annotator_labels") else (),
    )
