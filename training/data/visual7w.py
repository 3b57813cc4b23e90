"""Visual7W pointing: "Which …?" with four boxes of the same picture to choose from.

File: visual7w/dataset_v7w_pointing.json.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from training.data.entries import Entry, Once
from training.data.faults import OnFault, each
from training.data.files import is_file, is_there
from training.data.pictures import Identity, visual7w_identity
from training.data.streams import entries
from twelve.tasks.records import BoxXYXY, PointedBox

WRONG_CHOICES = 3
"""Beside the right one."""

_FILE = "visual7w/dataset_v7w_pointing.json"
_SPLITS = ("train", "val", "test", "novel")


class _Question(NamedTuple):
    image: Identity
    entry: Entry


class Visual7wReader:
    """Reads Visual7W pointing; the candidates stand in the order of their ids, which says nothing of the answer."""

    expects = _FILE

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the file, if it is there."""
        return (_FILE,) if is_file(root, _FILE) else ()

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that at least one picture is in."""
        if not is_there(root, _FILE):
            return ()
        named = set(each(_split, entries(root, _FILE, "images"), on_fault))
        return tuple(split for split in _SPLITS if split in named)

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[PointedBox]:
        """Yield the questions in the file's order; the boxes are held in memory."""
        boxes = dict(each(partial(_box, Once()), entries(root, _FILE, "boxes"), on_fault))
        return each(partial(_record, boxes, Once()), _questions(root, split, on_fault), on_fault)


def _split(image: Entry) -> str:
    return image.one_of("split", _SPLITS)


def _questions(root: Path, split: str, on_fault: OnFault) -> Iterator[_Question]:
    split_of: dict[str, str] = {}

    def listed(image: Entry) -> list[_Question] | None:
        own = _split(image)
        identity = visual7w_identity(image, name_field="filename", number_field="image_id")
        if split_of.setdefault(identity.id, own) != own:
            raise image.complaint("split", f"picture {identity.id} is in {split_of[identity.id]} already")
        return [_Question(identity, entry) for entry in image.entries("qa_pairs")] if own == split else None

    for questions in each(listed, entries(root, _FILE, "images"), on_fault):
        yield from questions


def _box(once: Once, entry: Entry) -> tuple[int, BoxXYXY]:
    """Take a box; a corner at -1, which the file has here and there, is moved onto the picture's edge."""
    x, y = entry.integer("x"), entry.integer("y")
    right, bottom = x + entry.natural("width"), y + entry.natural("height")
    left, top = max(x, 0), max(y, 0)
    for field, start, end in (("width", left, right), ("height", top, bottom)):
        if end <= start:
            raise entry.fault(field, expected="a positive number that reaches into the picture")
    return once.check(entry, "box_id", entry.natural("box_id")), (float(left), float(top), float(right), float(bottom))


def _record(boxes: Mapping[int, BoxXYXY], once: Once, question: _Question) -> PointedBox:
    image, entry = question
    if entry.has("image_id") and entry.natural("image_id") != int(image.id):
        raise entry.complaint("image_id", f"got {entry.natural('image_id')}, but the picture is {image.id}")
    right, wrong = entry.natural("answer"), entry.integers("multiple_choices")
    candidates = sorted({right, *wrong})
    if len(wrong) != WRONG_CHOICES or len(candidates) != WRONG_CHOICES + 1:
        raise entry.fault("multiple_choices", expected=f"{WRONG_CHOICES} different boxes, none of them the answer")
    for box_id in candidates:
        if box_id not in boxes:
            field = "answer" if box_id == right else "multiple_choices"
            raise entry.complaint(field, f"there is no readable box {box_id}")
    return PointedBox(
        id=str(once.check(entry, "qa_id", entry.natural("qa_id"))),
        image=image.image,
        question=entry.text("question"),
        boxes_px=tuple(boxes[box_id] for box_id in candidates),
        answer=candidates.index(right),
        box_ids=tuple(candidates),
    )
