"""Pointing: which of the boxes that the caller gave."""

from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor

from twelve.model.config import Labels
from twelve.schema import TaskRequest
from twelve.tasks.base import Decoded, Seen, Task, ranked
from twelve.tasks.kinds.losses import independent, one_hot
from twelve.tasks.kinds.referring import FIRST_REGION

Request = TypeVar("Request", bound=TaskRequest)
Record = TypeVar("Record")

EXAMPLE_BOXES = ((20.0, 40.0, 120.0, 140.0), (150.0, 60.0, 260.0, 200.0), (30.0, 120.0, 90.0, 220.0))


class Pointing(Task[Request, Record]):
    """Shared by Visual7W and GuessWhat: the choices are given boxes, the answer is an index."""

    group = "grounding"
    head = "grounding"

    def choices(self, values: Tensor, seen: Seen) -> Tensor:
        """Pick the given boxes' regions, in the caller's order."""
        return values[[FIRST_REGION + candidate for candidate in seen.candidates]]

    def decode(self, scores: Tensor, seen: Seen) -> Decoded:
        """Take the box with the best score."""
        del seen
        candidates = ranked(scores, range(len(scores)))
        return Decoded(candidates[0].answer, candidates)

    def target(self, target: int, seen: Seen) -> Tensor:
        """Mark the right box."""
        return one_hot(target, len(seen.candidates))

    def loss(self, choices: Sequence[Tensor], targets: Sequence[Tensor], labels: Labels) -> Tensor:
        """Train each box on its own."""
        del labels
        return independent(choices, targets)

    def metric(self, answer: Any, target: int) -> float:
        """Rate 1 for the right index."""
        return float(answer == target)

    def chance(self, target: int, seen: Seen) -> float:
        """Guess evenly among the boxes."""
        del target
        return 1 / len(seen.candidates)
