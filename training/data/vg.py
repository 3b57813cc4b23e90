"""Visual Genome QA: 1.4 million free answers in one list, read without holding it.

Files: vg/question_answers.json; vg/splits.json may deal its pictures out to splits, else the published rule does.
"""

from array import array
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from training.data.entries import Entry, Once, describe
from training.data.faults import Fault, OnFault, each, ignore
from training.data.files import is_file, is_there
from training.data.pictures import GenomePictures
from training.data.streams import Element, entries, stream
from twelve.tasks.kinds.normalise import normalise_answer
from twelve.tasks.records import AnsweredQuestion

VAL_QUESTIONS = 5_000
"""The last so many by id are val (12-in-1); there is no official split."""

_FILE = "vg/question_answers.json"
_SPLITS_FILE = "vg/splits.json"
_SPLITS = ("train", "val", "test", "novel")

Belongs = Callable[[int, int], bool]
"""Whether a question, by its picture's id and its own, is in a split."""


class VgQaReader:
    """Reads Visual Genome QA; each question has one answer, as VQAv2's answer list would have it.

    Annotators wrote freely ("On the left.", "A teddy bear."). The list that the data set is answered from holds
    normalised texts ("on left", "teddy bear"), so that only normalised answers are found in it.
    """

    expects = f"{_FILE} (and perhaps {_SPLITS_FILE})"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files that are there."""
        return tuple(name for name in (_FILE, _SPLITS_FILE) if is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that splits.json names, or train and val."""
        if not is_there(root, _FILE):
            return ()
        if not is_there(root, _SPLITS_FILE):
            return ("train", "val")
        named = set(_split_of_pictures(root).values())
        return tuple(split for split in _SPLITS if split in named)

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[AnsweredQuestion]:
        """Yield the questions in the file's order, one picture's in memory at a time."""
        belongs = _by_picture(root, split) if is_there(root, _SPLITS_FILE) else _by_question(root, split)
        record = partial(_record, belongs, GenomePictures(root), Once())
        return each(record, _questions(root, on_fault), on_fault)


def _questions(root: Path, on_fault: OnFault) -> Iterator[Entry]:
    def asked(picture: Entry) -> list[tuple[Entry, Entry]]:
        return [(picture, question) for question in picture.entries("qas")]

    for questions in each(asked, entries(root, _FILE), on_fault):
        yield from each(_of_its_picture, questions, on_fault)


def _of_its_picture(asked: tuple[Entry, Entry]) -> Entry:
    picture, question = asked
    if picture.has("id") and picture.natural("id") != question.natural("image_id"):
        reason = f"got {question.natural('image_id')}, but it stands under picture {picture.natural('id')}"
        raise question.complaint("image_id", reason)
    return question


def _record(belongs: Belongs, pictures: GenomePictures, once: Once, question: Entry) -> AnsweredQuestion | None:
    image_id, question_id = question.natural("image_id"), once.check(question, "qa_id", question.natural("qa_id"))
    if not belongs(image_id, question_id):
        return None
    answer = normalise_answer(question.text("answer"))
    return AnsweredQuestion(
        id=str(question_id),
        image=pictures.path(str(image_id)),
        question=question.text("question"),
        answers=(answer,) if answer else (),
    )


def _by_picture(root: Path, split: str) -> Belongs:
    split_of = _split_of_pictures(root)
    return lambda image_id, question_id: split_of.get(image_id) == split


def _split_of_pictures(root: Path) -> dict[int, str]:
    split_of: dict[int, str] = {}
    for element in stream(root, _SPLITS_FILE):
        for image_id in _image_ids(element):
            if split_of.setdefault(image_id, element.key) != element.key:
                reason = f"picture {image_id} is in {split_of[image_id]} already"
                raise Fault(_SPLITS_FILE, row=f"{element.key}[{element.position}]", reason=reason)
    return split_of


def _image_ids(element: Element) -> list[int]:
    """Give the one picture that an element of splits.json names, none for an empty list."""
    if element.key in _SPLITS and element.position is not None and type(element.value) is int:
        return [element.value]
    if element.key in _SPLITS and element.value == []:
        return []
    row = element.key if element.position is None else f"{element.key}[{element.position}]"
    expected = "expected lists of picture ids under " + ", ".join(_SPLITS)
    raise Fault(_SPLITS_FILE, row=row, reason=f"{expected}, got {describe(element.value)}")


def _by_question(root: Path, split: str) -> Belongs:
    ids = array("q", each(lambda question: question.natural("qa_id"), _questions(root, ignore), ignore))
    first_of_val = sorted(ids)[-VAL_QUESTIONS:][0] if ids else 0
    wants_val = split == "val"
    return lambda image_id, question_id: (question_id >= first_of_val) == wants_val
