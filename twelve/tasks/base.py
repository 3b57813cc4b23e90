"""What every task is: the server, the trainer, the evaluator and the documents all read tasks through this.

Shapes: R regions of a picture (detected ones, then given ones, the global region left out) · A choices of a request.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from twelve.model.config import Labels
from twelve.regions.extractor import RegionSet
from twelve.schema import AnyImage, Candidate, TaskRequest

Request = TypeVar("Request", bound=TaskRequest)
Record = TypeVar("Record")

BEST = 5
"""Candidates that an answer lists where there are many."""


@dataclass(frozen=True)
class Prompt:
    """A request as the model will see it: pictures, and rows of one text before one of them.

    Attributes:
        rows: (text, index into `images`) each.
        images: Distinct slots; the same picture may stand in two.
        boxes_px: Candidates that the caller gave, in the first picture.
    """

    rows: tuple[tuple[str, int], ...]
    images: tuple[AnyImage, ...]
    boxes_px: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class AnswerList:
    """The answers of a head, in the order of its outputs."""

    answers: tuple[str, ...] = ()

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Find an answer's place."""
        return {answer: place for place, answer in enumerate(self.answers)}


@dataclass(frozen=True)
class Seen:
    """What a task may look at to read its choices: the pictures' regions and the head's answers.

    Attributes:
        regions: Of each picture of the prompt.
        candidates: Which regions of the first picture are the boxes the caller gave, in the caller's order.
        answers: Of the task's head; empty for heads without a vocabulary.
    """

    regions: tuple[RegionSet, ...]
    candidates: tuple[int, ...] = ()
    answers: AnswerList = AnswerList()


@dataclass(frozen=True)
class Decoded:
    """A task's answer and the candidates it was chosen from, best first."""

    answer: Any
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Labelled(Generic[Request]):
    """A request made from a record, and what its right answer is, in the task's own form."""

    request: Request
    target: Any


class Draw(Protocol):
    """Where a record alone makes no request: chooses other pictures, and places."""

    def others(self, image: str, count: int) -> Sequence[str]:
        """Choose other pictures of the same data set and split, hard ones among them."""
        ...

    def place(self, count: int) -> int:
        """Choose a number in [0, count)."""
        ...


class Task(ABC, Generic[Request, Record]):
    """One of the twelve, or a thirteenth.

    Attributes:
        name: As requests write it.
        token: Row of the task table; the published number, never reused.
        aliases: Other spellings.
        group: Of the paper's four.
        head: Name of the head that answers.
        request: The request's own fields.
        text_field: Which of them holds the text.
        most_tokens: Word pieces a training text is cut to, [CLS] and [SEP] included (12-in-1, `max_seq_length`).
        batch_size: Requests of one training step in the published recipe.
        summary: One line for people.
    """

    name: ClassVar[str]
    token: ClassVar[int]
    aliases: ClassVar[tuple[str, ...]] = ()
    group: ClassVar[str]
    head: ClassVar[str]
    request: ClassVar[type[TaskRequest]]
    text_field: ClassVar[str]
    most_tokens: ClassVar[int]
    batch_size: ClassVar[int]
    summary: ClassVar[str]
    pictures_in_example: ClassVar[int] = 1

    @abstractmethod
    def rows(self, request: Request) -> Prompt:
        """Say which texts stand before which pictures. The server and the trainer both ask this."""

    @abstractmethod
    def decode(self, scores: Tensor, seen: Seen) -> Decoded:
        """Read the answer from the [A] scores of this request's own choices."""

    @abstractmethod
    def labelled(self, record: Record, draw: Draw) -> Labelled[Request]:
        """Turn a record of the data set into a request and its right answer."""

    @abstractmethod
    def target(self, target: Any, seen: Seen) -> Tensor:
        """Write a right answer as [A] numbers beside the request's own choices."""

    @abstractmethod
    def loss(self, choices: Sequence[Tensor], targets: Sequence[Tensor], labels: Labels) -> Tensor:
        """Give the mean loss of a batch.

        Args:
            choices: [A] logits of each item; A may differ between items.
            targets: [A] each.
            labels: How the head that answers is trained; most kinds know but one way.

        Returns:
            A scalar.
        """

    @abstractmethod
    def metric(self, answer: Any, target: Any) -> float:
        """Rate an answer in [0, 1]."""

    @abstractmethod
    def chance(self, target: Any, seen: Seen) -> float:
        """Give the metric that a blind guess among the choices expects."""

    @abstractmethod
    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """Give an ordinary request's fields, with these pictures (as the contract writes pictures)."""

    def choices(self, values: Tensor, seen: Seen) -> Tensor:
        """Pick this request's own choices from its head's values (logits or scores)."""
        del seen
        return values

    def expand(self, record: Record) -> Sequence[Record]:
        """Split a record into items that are asked and rated on their own."""
        return (record,)

    def label_of(self, target: Any) -> str:
        """Name a target's class, where per-class figures make sense; "" elsewhere."""
        del target
        return ""


def ranked(scores: Tensor, answers: Sequence[Any], *, most: int | None = None) -> tuple[Candidate, ...]:
    """List answers by score, best first; equal scores keep their order.

    Args:
        scores: [A].
        answers: A of them.
        most: How many to list; None lists all.

    Returns:
        The candidates.
    """
    order = scores.sort(descending=True, stable=True)
    places, values = order.indices[:most].tolist(), order.values[:most].tolist()
    return tuple(Candidate(answer=answers[place], score=value) for place, value in zip(places, values, strict=True))
