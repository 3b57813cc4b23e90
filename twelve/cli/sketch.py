"""What is drawn for an answer: the box it names or points to, the picture it chose, and always the words below."""

from collections.abc import Sequence
from typing import Any

from twelve.cli.question import Question
from twelve.cli.show import named
from twelve.draw import Mark, Panel, drawing
from twelve.errors import InvalidField
from twelve.image import ImageLimits, decode
from twelve.schema import Answer


def sketch(question: Question, pictures: Sequence[Any], answer: Answer) -> bytes:
    """Draw an answer.

    Args:
        question: What was asked.
        pictures: Its files' bytes.
        answer: To draw.

    Returns:
        A PNG file.

    Raises:
        InvalidField: A picture was given by its ref alone.
    """
    score = f"{answer.candidates[0].score:.2f}"
    marks = _marks(question, answer.answer, score)
    chosen = answer.answer if type(answer.answer) is int and not question.boxes else None  # True is no index
    panels = [
        Panel(decode(_file(one), limits=ImageLimits()).rgb, marks, is_chosen=place == chosen)
        for place, one in enumerate(pictures)
    ]
    return drawing(panels, f"{question.task}: {question.words}\n{named(answer.answer, question.choices)}  ({score})")


def _marks(question: Question, answer: Any, score: str) -> tuple[Mark, ...]:
    """Mark the candidate boxes, the best last and so on top, or the box that is the answer itself."""
    if question.boxes:
        order = sorted(range(len(question.boxes)), key=lambda place: place == answer)
        return tuple(
            Mark(_sides(question.boxes[place]), f"{place}  {score}" if place == answer else str(place), place == answer)
            for place in order
        )
    return (Mark(_sides(answer), f"{question.words}  {score}"),) if isinstance(answer, list) else ()


def _sides(box: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return (x1, y1, x2, y2)


def _file(picture: Any) -> bytes:
    if not isinstance(picture, bytes):
        raise InvalidField("--draw: needs the pictures' files, got a ref; give --image a path", at="image")
    return picture
