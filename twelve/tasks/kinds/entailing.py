"""Entailing: whether a picture entails a statement, contradicts it or leaves it open."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from twelve.heads.entailment import LABELS
from twelve.model.config import Labels
from twelve.schema import Image, StoredImage, TaskRequest, Text
from twelve.tasks.base import Decoded, Draw, Labelled, Prompt, Seen, Task, ranked
from twelve.tasks.kinds.losses import VERDICTS, one_hot
from twelve.tasks.records import EntailedStatement


class StatementRequest(TaskRequest):
    """A statement about a picture."""

    statement: Text
    image: Image


class Entailing(Task[StatementRequest, EntailedStatement]):
    """The kind of SNLI-VE."""

    group = "verification"
    head = "entailment"
    request = StatementRequest
    text_field = "statement"
    most_tokens = 56
    batch_size = 256

    def rows(self, request: StatementRequest) -> Prompt:
        """Put the statement before the picture."""
        return Prompt(rows=((request.statement, 0),), images=(request.image,))

    def decode(self, scores: Tensor, seen: Seen) -> Decoded:
        """Take the label with the best score."""
        del seen
        candidates = ranked(scores, LABELS)
        return Decoded(candidates[0].answer, candidates)

    def labelled(self, record: EntailedStatement, draw: Draw) -> Labelled[StatementRequest]:
        """State the record's hypothesis."""
        del draw
        return Labelled(StatementRequest(statement=record.statement, image=StoredImage(key=record.image)), record.label)

    def target(self, target: str, seen: Seen) -> Tensor:
        """Mark the right label."""
        del seen
        return one_hot(LABELS.index(target), len(LABELS))

    def loss(self, choices: Sequence[Tensor], targets: Sequence[Tensor], labels: Labels) -> Tensor:
        """Let the labels compete, as in the paper, or train three sigmoids, as the released code does."""
        return VERDICTS[labels](choices, targets)

    def metric(self, answer: Any, target: str) -> float:
        """Rate 1 for the right label."""
        return float(answer == target)

    def chance(self, target: str, seen: Seen) -> float:
        """Guess evenly."""
        del target, seen
        return 1 / len(LABELS)

    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """State something about a picture."""
        return {"statement": "The car is red.", "image": images[0]}

    def label_of(self, target: str) -> str:
        """Name the label."""
        return target
