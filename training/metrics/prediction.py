"""Predictions: what a model answered to the items of a split, and what that is worth."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """An answer to one item.

    Attributes:
        record: Of the item.
        answer: In the task's own form.
        ranked: The candidates it was chosen from, best first.
    """

    record: Any
    answer: Any
    ranked: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rated(Prediction):
    """An answer to an item whose right answer is known.

    Attributes:
        value: The task's metric, in [0, 1].
        chance: What a blind guess among the choices expects of it.
        kind: The record's own question type, or the class of the right answer.
    """

    value: float
    chance: float = 0.0
    kind: str = ""
