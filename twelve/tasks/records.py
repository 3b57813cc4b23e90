"""One labelled item of each kind of data set, as its reader yields it and its task trains on it.

A record is plain data: texts as the official file has them, boxes XYXY in pixels, `image` a path relative to the data
root. `training/data` makes records from official files; `Task.labelled(record)` turns one into requests and targets.
"""

from dataclasses import dataclass, field

BoxXYXY = tuple[float, float, float, float]


@dataclass(frozen=True)
class AnsweredQuestion:
    """VQAv2, Visual Genome QA, GQA: a question and what people answered.

    Attributes:
        id: The question's id in the official file.
        image: Path of the picture, relative to the data root.
        question: As asked.
        answers: The annotators' answers (ten for VQAv2, one for the others); empty where the split has none.
        kind: The official question type ("how many", "attr", …), "" where there is none.
        answer_kind: The official answer type ("yes/no", "number", "other"), "" where there is none.
    """

    id: str
    image: str
    question: str
    answers: tuple[str, ...]
    kind: str = ""
    answer_kind: str = ""


@dataclass(frozen=True)
class CaptionedImage:
    """COCO, Flickr30k: a picture and its captions."""

    id: str
    image: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class ReferredBox:
    """RefCOCO, RefCOCO+, RefCOCOg: one expression and the box it means."""

    id: str
    image: str
    expression: str
    box_px: BoxXYXY
    split: str = ""


@dataclass(frozen=True)
class PointedBox:
    """Visual7W pointing: a question, candidate boxes, the index of the right one, and what the file calls them."""

    id: str
    image: str
    question: str
    boxes_px: tuple[BoxXYXY, ...]
    answer: int
    box_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class GuessedObject:
    """GuessWhat?!: a dialogue of (question, answer) turns, the objects of the game and the index of the one meant.

    Attributes:
        box_ids: What the official file calls the objects.
    """

    id: str
    image: str
    dialog: tuple[tuple[str, str], ...]
    boxes_px: tuple[BoxXYXY, ...]
    answer: int
    box_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class ComparedImages:
    """NLVR2: a statement about two pictures, and whether it is true."""

    id: str
    images: tuple[str, str]
    statement: str
    label: bool


@dataclass(frozen=True)
class EntailedStatement:
    """SNLI-VE: a statement about a picture; `label` is entailment, neutral or contradiction."""

    id: str
    image: str
    statement: str
    label: str
    annotators: tuple[str, ...] = field(default=())
