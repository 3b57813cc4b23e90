"""VQAv2: the questions of one file joined by id to the answers of another.

Files: vqa/v2_OpenEnded_mscoco_{subset}_questions.json and vqa/v2_mscoco_{subset}_annotations.json.
"""

import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from training.data.entries import Entry, Once, describe
from training.data.faults import Fault, OnFault, each, ignore
from training.data.files import is_file, is_there
from training.data.pictures import coco_image
from training.data.streams import entries, stream
from twelve.tasks.records import AnsweredQuestion

ANNOTATORS = 10
"""Who answered each question."""


class _Subset(NamedTuple):
    name: str
    image_group: str
    is_labelled: bool


_SUBSETS = {
    "train": _Subset("train2014", "train2014", True),
    "val": _Subset("val2014", "val2014", True),
    "test-dev": _Subset("test-dev2015", "test2015", False),
    "test": _Subset("test2015", "test2015", False),
    "novel": _Subset("novel2015", "test2015", False),
}
"""By split. Where answers are not required (the challenge keeps them), they are read if they are there."""


class _Annotation(NamedTuple):
    answers: tuple[str, ...]
    kind: str
    answer_kind: str
    image_id: int | None
    row: str


class VqaReader:
    """Reads VQAv2; a record's kind is the official question type ("how many")."""

    expects = "vqa/v2_OpenEnded_mscoco_{train2014|val2014|test2015}_questions.json"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files that are there."""
        names = (name(split) for split in _SUBSETS for name in (_questions_file, _annotations_file))
        return tuple(name for name in names if is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits whose questions are there."""
        return tuple(split for split in _SUBSETS if is_there(root, _questions_file(split)))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[AnsweredQuestion]:
        """Yield the questions in their file's order, each with its ten answers if the split has them.

        The answers are held in memory; an annotation that no question asks for is a fault at the end.
        """
        annotations = _annotations(root, split, on_fault)
        is_labelled = bool(annotations) or _SUBSETS[split].is_labelled
        once = Once()

        def record(question: Entry) -> AnsweredQuestion:
            question_id = once.check(question, "question_id", question.natural("question_id"))
            annotation = annotations.pop(question_id, None)
            if is_labelled and annotation is None:
                raise question.complaint("question_id", f"no annotation is left for question {question_id}")
            return _record(question, annotation, _SUBSETS[split].image_group)

        yield from each(record, entries(root, _questions_file(split), "questions"), on_fault)
        for question_id, annotation in annotations.items():
            reason = f"no question has the id {question_id}"
            on_fault(Fault(_annotations_file(split), row=annotation.row, field="question_id", reason=reason))


def _questions_file(split: str) -> str:
    return f"vqa/v2_OpenEnded_mscoco_{_SUBSETS[split].name}_questions.json"


def _annotations_file(split: str) -> str:
    return f"vqa/v2_mscoco_{_SUBSETS[split].name}_annotations.json"


def _annotations(root: Path, split: str, on_fault: OnFault) -> dict[int, _Annotation]:
    name = _annotations_file(split)
    if not _SUBSETS[split].is_labelled and not is_there(root, name):
        return {}
    found: dict[int, _Annotation] = {}
    for question_id, annotation in each(_annotation, entries(root, name, "annotations"), on_fault):
        if question_id in found:
            reason = f"question {question_id} is annotated in {found[question_id].row} already"
            on_fault(Fault(name, row=annotation.row, field="question_id", reason=reason))
        found[question_id] = annotation
    return found


def _annotation(entry: Entry) -> tuple[int, _Annotation]:
    answers = tuple(sys.intern(answer.perhaps_empty_text("answer")) for answer in entry.entries("answers"))
    if len(answers) != ANNOTATORS:
        raise entry.complaint("answers", f"expected {ANNOTATORS} answers, got {len(answers)}")
    image_id = entry.natural("image_id") if entry.has("image_id") else None
    kind, answer_kind = (sys.intern(entry.text_or_empty(field)) for field in ("question_type", "answer_type"))
    return entry.natural("question_id"), _Annotation(answers, kind, answer_kind, image_id, entry.row)


def _record(question: Entry, annotation: _Annotation | None, image_group: str) -> AnsweredQuestion:
    image_id = question.natural("image_id")
    if annotation and annotation.image_id not in (None, image_id):
        raise question.complaint("image_id", f"got {image_id}, but its annotation is about {annotation.image_id}")
    return AnsweredQuestion(
        id=str(question.natural("question_id")),
        image=coco_image(image_group, image_id),
        question=question.text("question"),
        answers=annotation.answers if annotation else (),
        kind=annotation.kind if annotation else "",
        answer_kind=annotation.answer_kind if annotation else "",
    )


def pair_files(root: Path) -> tuple[str, ...]:
    """Give the files of complementary pairs that are there; published for train and val."""
    return tuple(name for name in map(_pairs_file, _SUBSETS) if is_there(root, name))


def complementary_pairs(root: Path, name: str, on_fault: OnFault) -> Iterator[tuple[int, int]]:
    """Yield pairs of questions with one text and different answers, the reason for VQA's second version.

    Args:
        root: The data root.
        name: Of the file, relative to it.
        on_fault: Called with each pair that is none.
    """
    questions = entries(root, _questions_file(_split_of_pairs(name)), "questions")
    asked = frozenset(each(lambda question: question.natural("question_id"), questions, ignore))
    rows = (Entry(element.value, name, f"[{element.position}]") for element in stream(root, name))
    return each(lambda row: _pair(row, asked), rows, on_fault)


def _pairs_file(split: str) -> str:
    return f"vqa/v2_mscoco_{_SUBSETS[split].name}_complementary_pairs.json"


def _split_of_pairs(name: str) -> str:
    return next(split for split in _SUBSETS if _pairs_file(split) == name)


def _pair(row: Entry, asked: Collection[int]) -> tuple[int, int]:
    ids = row.value
    if not isinstance(ids, list) or len(ids) != 2 or not all(type(one) is int for one in ids) or ids[0] == ids[1]:
        raise row.complaint("", f"expected the ids of two questions, got {describe(ids)}")
    for place, one in enumerate(ids):
        if one not in asked:
            raise row.complaint(f"[{place}]", f"no question has the id {one}")
    return ids[0], ids[1]
