"""A question as the command line gives it, and as the contract writes it; which fields there are is the task's say."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twelve.cli.files import contents
from twelve.errors import InvalidField
from twelve.schema import REF

if TYPE_CHECKING:
    from twelve.tasks.registry import AnyTask

SIDES = 4


@dataclass(frozen=True)
class Question:
    """What was given on the command line.

    Attributes:
        task: Name of the task.
        text: The question, caption, expression or statement.
        images: Paths or refs.
        boxes: Candidates.
        dialog: (question, answer) turns.
    """

    task: str
    text: str | None
    images: tuple[str, ...]
    boxes: tuple[tuple[float, ...], ...] = ()
    dialog: tuple[tuple[str, str], ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """Name what an answer that is an index counts: the boxes, or else the pictures."""
        return tuple(str(list(box)) for box in self.boxes) or self.images

    @property
    def words(self) -> str:
        """Give the text, or the dialogue in its place, on one line."""
        return self.text or " ".join(f"{question} {answer}." for question, answer in self.dialog)

    def pictures(self) -> tuple[Any, ...]:
        """Read the pictures' files; refs stay refs.

        Raises:
            UnreadableImage: A file cannot be read.
        """
        return tuple(
            {"ref": image} if REF.fullmatch(image) else contents(Path(image), at="image") for image in self.images
        )


def fields_of(question: Question, task: "AnyTask", pictures: Sequence[Any]) -> dict[str, Any]:
    """Write a question's fields as the contract names them. What does not fit the rest is left to whoever answers.

    Args:
        question: As given.
        task: That it asks.
        pictures: Of the question, as the client takes them.

    Returns:
        The fields, ready for `Client.ask`.

    Raises:
        InvalidField: The task has no field for what was given.
    """
    takes = task.request.model_fields
    fields: dict[str, Any] = {}
    if question.text is not None:
        if takes[task.text_field].annotation is not str:
            raise InvalidField(f"TEXT: task '{task.name}' takes no text; give --{task.text_field}", at=task.text_field)
        fields[task.text_field] = question.text
    if question.dialog:
        fields["dialog"] = [{"question": asked, "answer": answer} for asked, answer in question.dialog]
    if question.boxes:
        fields["boxes"] = [list(box) for box in question.boxes]
    return fields | _picture_fields(task, pictures)


def read_boxes(listed: str | None, single: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Read boxes.

    Args:
        listed: JSON, a list of boxes.
        single: "x1,y1,x2,y2" each.

    Returns:
        All of them, the listed ones first.

    Raises:
        InvalidField: One is not written so.
    """
    values = [] if listed is None else _json_list(listed)
    return (*(_box(value, str(value)) for value in values), *(_box(one.split(","), one) for one in single))


def read_dialog(turns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read "question=answer" turns.

    Raises:
        InvalidField: A turn has no answer.
    """
    return tuple(_turn(turn) for turn in turns)


def _picture_fields(task: "AnyTask", pictures: Sequence[Any]) -> dict[str, Any]:
    if "images" in task.request.model_fields:
        return {"images": list(pictures)}
    if len(pictures) > 1:
        raise InvalidField(f"image: task '{task.name}' takes one picture, got {len(pictures)}", at="image")
    return {"image": pictures[0]} if pictures else {}


def _json_list(text: str) -> list[Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InvalidField(f"--boxes: is no JSON ({error}); write [[x1, y1, x2, y2], …]", at="boxes") from error
    if not isinstance(values, list):
        raise InvalidField(f"--boxes: must be a list of boxes [[x1, y1, x2, y2], …], got {text}", at="boxes")
    return values


def _box(value: Any, written: str) -> tuple[float, ...]:
    try:
        box = tuple(float(side) for side in value)
    except (TypeError, ValueError):
        box = ()
    if len(box) != SIDES:
        raise InvalidField(f"box: needs four numbers x1, y1, x2, y2, got {written}", at="boxes")
    return box


def _turn(turn: str) -> tuple[str, str]:
    question, mark, answer = turn.rpartition("=")
    if not mark:
        raise InvalidField(f'--dialog: write each turn as "question=answer", got "{turn}"', at="dialog")
    return question.strip(), answer.strip()
