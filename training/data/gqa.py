"""GQA: dicts of questions by id, in one file a split or in a directory of files.

Files: gqa/{subset}_balanced_questions.json, or gqa/{subset}_all_questions.json; either name without ".json" may be a
directory of such files. gqa/{subset}_choices.json, which the official evaluation makes, may stand beside them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from training.data.entries import Entry, Once
from training.data.faults import Fault, OnFault, each, refuse
from training.data.files import is_file, is_there
from training.data.pictures import GenomePictures
from training.data.streams import no_row, stream
from twelve.tasks.records import AnsweredQuestion

_SUBSETS = {
    "train": "train",
    "val": "val",
    "test": "testdev",
    "test-std": "test",
    "challenge": "challenge",
    "submission": "submission",
    "novel": "novel",
}
"""By split. Everybody, 12-in-1 too, reports testdev."""

_KEPT_BACK = frozenset({"test-std", "challenge", "submission"})
"""Splits whose answers and types the challenge keeps to itself."""

_KINDS = ("balanced", "all")
_IMAGE_ID = re.compile(r"n?\d+", re.ASCII)


class GqaReader:
    """Reads GQA; a record's kind is the official semantic type (obj, attr, cat, rel, global)."""

    expects = "gqa/{train|val|testdev}_balanced_questions.json"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the questions that are read."""
        return tuple(name for split in _SUBSETS for name in _files(root, split) if is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that have a file or a directory."""
        return tuple(split for split in _SUBSETS if _files(root, split))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[AnsweredQuestion]:
        """Yield the questions in the order of their files."""
        pictures = GenomePictures(root)
        record = _asked if split in _KEPT_BACK else _answered
        for name in _files(root, split):
            yield from each(partial(record, pictures, Once()), by_id(root, name), on_fault)


def _files(root: Path, split: str) -> list[str]:
    """Give the files of a split, relative to the root: the balanced questions if they are there, else all.

    A folder without files is given itself, for reading to complain of.
    """
    for kind in _KINDS:
        stem = f"gqa/{_SUBSETS[split]}_{kind}_questions"
        if is_there(root, f"{stem}.json"):
            return [f"{stem}.json"]
        if is_there(root, stem):
            found = sorted((root / stem).glob("*.json"), key=lambda path: (len(path.name), path.name))
            return [f"{stem}/{path.name}" for path in found] or [stem]
    return []


def _choices_file(split: str) -> str:
    return f"gqa/{_SUBSETS[split]}_choices.json"


def by_id(root: Path, name: str) -> Iterator[Entry]:
    """Yield the entries of a file that is a dict; the row of each is its id.

    Raises:
        Fault: The file is no dict of such entries.
    """
    is_empty = True
    for element in stream(root, name):
        if element.position is not None or not element.key:
            raise Fault(name, row=element.key, reason="expected an object of entries by their ids, got a list")
        yield Entry(element.value, name, element.key)
        is_empty = False
    if is_empty:
        raise no_row(name)


def _answered(pictures: GenomePictures, once: Once, entry: Entry) -> AnsweredQuestion:
    asked = _asked(pictures, once, entry)
    return replace(asked, answers=(entry.text("answer"),), kind=entry.entry("types").text("semantic"))


def _asked(pictures: GenomePictures, once: Once, entry: Entry) -> AnsweredQuestion:
    image_id = entry.matching("imageId", _IMAGE_ID, expected='digits, perhaps after an "n"')[0]
    return AnsweredQuestion(
        id=once.check(entry, "", entry.row),
        image=pictures.path(image_id),
        question=entry.text("question"),
        answers=(),
    )


@dataclass(frozen=True)
class QuestionFacts:
    """What the official evaluation knows of a question beside its answer.

    Attributes:
        structural: verify, query, choose, logical or compare; only "query" is open.
        detailed: The finest of its types ("twoCommon", "relS").
        group: The group that its answer belongs to among all questions' ("color"); "" for yes and no.
        entailed: Ids of questions whose answers follow from this one's.
        is_balanced: Whether it is one of those that figures are reported on.
    """

    structural: str
    detailed: str
    group: str
    entailed: tuple[str, ...]
    is_balanced: bool


@dataclass(frozen=True)
class QuestionChoices:
    """Answers that are in a question's scope, and those of them that the world of all scene graphs makes likely."""

    valid: frozenset[str]
    plausible: frozenset[str]


def question_facts(root: Path, split: str) -> Iterator[tuple[str, QuestionFacts]]:
    """Yield what the official evaluation knows of each question, by id.

    Raises:
        Fault: A row is not as the format says.
    """
    for name in _files(root, split):
        yield from facts(root, name, refuse)


def question_choices(root: Path, split: str) -> Iterator[tuple[str, QuestionChoices]]:
    """Yield the official choices of each question, by id; nothing where the file is not there.

    Raises:
        Fault: A row is not as the format says.
    """
    name = _choices_file(split)
    return choices(root, name, refuse) if is_there(root, name) else iter(())


def fact_files(root: Path) -> tuple[str, ...]:
    """Give the files that tell facts: those of questions whose answers are public."""
    return tuple(name for split in _SUBSETS if split not in _KEPT_BACK for name in _files(root, split))


def choice_files(root: Path) -> tuple[str, ...]:
    """Give the files of choices that are there."""
    return tuple(name for name in map(_choices_file, _SUBSETS) if is_there(root, name))


def facts(root: Path, name: str, on_fault: OnFault) -> Iterator[tuple[str, QuestionFacts]]:
    """Yield the facts of one file of questions, by id."""
    return each(lambda entry: (entry.row, _facts(entry)), by_id(root, name), on_fault)


def choices(root: Path, name: str, on_fault: OnFault) -> Iterator[tuple[str, QuestionChoices]]:
    """Yield the choices of one file, by id."""
    return each(lambda entry: (entry.row, _choices(entry)), by_id(root, name), on_fault)


def _choices(entry: Entry) -> QuestionChoices:
    return QuestionChoices(frozenset(entry.texts("valid")), frozenset(entry.texts("plausible")))


def _facts(entry: Entry) -> QuestionFacts:
    types = entry.entry("types")
    return QuestionFacts(
        structural=types.text("structural"),
        detailed=types.text_or_empty("detailed"),
        group=entry.entry("groups").text_or_empty("global") if entry.has("groups") else "",
        entailed=tuple(entry.texts("entailed")) if entry.has("entailed") else (),
        is_balanced=_is_balanced(entry),
    )


def _is_balanced(entry: Entry) -> bool:
    """Say whether a question is one of the balanced ones; those of a file that does not tell are."""
    return not isinstance(entry.value, dict) or entry.value.get("isBalanced") is not False
