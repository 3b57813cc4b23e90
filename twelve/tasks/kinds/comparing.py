"""Comparing: whether a statement is true of two pictures."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, FailFast, Field
from pydantic_core import PydanticCustomError
from torch import Tensor

from twelve.heads.pair import FALSE, PICTURES_OF_A_PAIR, TRUE
from twelve.model.config import Labels
from twelve.schema import Image, StoredImage, TaskRequest, Text
from twelve.tasks.base import Decoded, Draw, Labelled, Prompt, Seen, Task, ranked
from twelve.tasks.kinds.losses import VERDICTS, one_hot
from twelve.tasks.records import ComparedImages


def _two(images: Any) -> Any:
    """Count the pictures before any of them is looked at."""
    if isinstance(images, list | tuple) and len(images) != PICTURES_OF_A_PAIR:
        raise PydanticCustomError(
            "pictures",
            "compares {needs} pictures, got {got}",
            {"needs": PICTURES_OF_A_PAIR, "got": len(images)},
        )
    return images


class PairRequest(TaskRequest):
    """A statement about two pictures."""

    statement: Text
    images: Annotated[
        tuple[Image, ...],
        FailFast(),
        BeforeValidator(_two),
        Field(json_schema_extra={"minItems": PICTURES_OF_A_PAIR, "maxItems": PICTURES_OF_A_PAIR}),
    ]


class Comparing(Task[PairRequest, ComparedImages]):
    """The kind of NLVR2."""

    group = "verification"
    head = "pair"
    request = PairRequest
    text_field = "statement"
    most_tokens = 40
    batch_size = 64
    pictures_in_example = PICTURES_OF_A_PAIR

    def rows(self, request: PairRequest) -> Prompt:
        """Put the statement before each picture; the head sees both rows."""
        return Prompt(rows=((request.statement, 0), (request.statement, 1)), images=request.images)

    def decode(self, scores: Tensor, seen: Seen) -> Decoded:
        """Say true or false."""
        del seen
        candidates = ranked(scores[[TRUE, FALSE]], (True, False))
        return Decoded(candidates[0].answer, candidates)

    def labelled(self, record: ComparedImages, draw: Draw) -> Labelled[PairRequest]:
        """State the record's sentence."""
        del draw
        images = tuple(StoredImage(key=image) for image in record.images)
        return Labelled(PairRequest(statement=record.statement, images=images), record.label)

    def target(self, target: bool, seen: Seen) -> Tensor:
        """Mark true or false."""
        del seen
        return one_hot(TRUE if target else FALSE, 2)

    def loss(self, choices: Sequence[Tensor], targets: Sequence[Tensor], labels: Labels) -> Tensor:
        """Let true and false compete, as in the paper, or train two sigmoids, as the released code does."""
        return VERDICTS[labels](choices, targets)

    def metric(self, answer: Any, target: bool) -> float:
        """Rate 1 for the right verdict."""
        return float(answer is target)

    def chance(self, target: bool, seen: Seen) -> float:
        """Guess evenly."""
        del target, seen
        return 0.5

    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """Compare two pictures."""
        return {"statement": "There is a red car in the left picture.", "images": list(images)}

    def label_of(self, target: bool) -> str:
        """Name the verdict."""
        return str(target)
