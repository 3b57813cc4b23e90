"""Every task's metric on a split, beside chance.

Shapes: M items · A choices of an item.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeVar

import torch

from training.items import Item, TaskItems, padded
from training.loop import TrainedForward, device_of
from training.metrics.figures import by_group, mean
from training.metrics.prediction import Prediction, Rated
from twelve.engines.engine import heads_of
from twelve.errors import DataError
from twelve.heads.model import TwelveModel
from twelve.tasks.base import Decoded

T = TypeVar("T")


class Unanswered(DataError):
    """A split's right answers are not public, so that nobody but its challenge can rate it."""


BATCH = 64
MOST_ITEMS = 2000
"""Items of one task and split, evenly spread over its records."""


@dataclass(frozen=True)
class TaskScore:
    """How a model does at one task.

    Attributes:
        items: Asked.
        score: Mean of the task's metric.
        chance: What a blind guess among the choices expects.
        kinds: Mean by the items' own kinds, where they have any.
    """

    items: int
    score: float
    chance: float
    kinds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Give plain values, rounded to what the items can tell apart."""
        plain = asdict(self)
        plain["score"], plain["chance"] = round(self.score, 4), round(self.chance, 4)
        plain["kinds"] = {kind: round(value, 4) for kind, value in self.kinds.items()}
        return plain


@dataclass(frozen=True)
class Measured:
    """A task's score, and the answers it is of."""

    score: TaskScore
    rated: Sequence[Rated]


def evaluate(
    model: TwelveModel,
    source: TaskItems,
    *,
    most: int = MOST_ITEMS,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Ask a model a task's items.

    Args:
        model: In evaluation mode.
        source: Items of one task and split.
        most: Items to ask; what is drawn for an item depends on its place alone.
        on_progress: Called with the number of items done since the last call.

    Returns:
        The score and every answer.

    Raises:
        Unanswered: An item has no right answer; names it.
    """
    places = spread(len(source), most)
    rated = [_rated(source, item, one) for item, one in predictions(model, source, places, on_progress=on_progress)]
    kinds = {kind: mean(values) for kind, values in by_group((one.kind, one.value) for one in rated).items()}
    score = mean(one.value for one in rated)
    return Measured(
        TaskScore(len(rated), score, mean(one.chance for one in rated), kinds if len(kinds) > 1 else {}), rated
    )


def predictions(
    model: TwelveModel,
    source: TaskItems,
    places: Sequence[int],
    *,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Iterator[tuple[Item, Prediction]]:
    """Answer the items at some places, in their order; right answers need not be known."""
    for chunk in chunks(places, BATCH):
        items = [source.item(place, place) for place in chunk]
        for place, item, given in zip(chunk, items, answers(model, source, items), strict=True):
            ranked = tuple(candidate.answer for candidate in given.candidates)
            yield item, Prediction(source.records[place], given.answer, ranked)
        on_progress(len(items))


def _rated(source: TaskItems, item: Item, prediction: Prediction) -> Rated:
    if item.labelled.target == ():
        raise Unanswered(
            f"task {source.task.name!r}, {source.split}: item {prediction.record.id!r} has no right answer; "
            "evaluate on a split that is annotated"
        )
    return Rated(
        prediction.record,
        prediction.answer,
        prediction.ranked,
        value=source.task.metric(prediction.answer, item.labelled.target),
        chance=source.task.chance(item.labelled.target, item.seen),
        kind=item.kind,
    )


def answers(model: TwelveModel, source: TaskItems, items: Sequence[Item]) -> list[Decoded]:
    """Answer a batch of one task's items, as the server would."""
    task, head = source.task, heads_of(model)[source.task.head]
    with torch.inference_mode():
        logits = TrainedForward(model)(padded(items).to(device_of(model)), task.head, len(items)).cpu()
    return [
        task.decode(task.choices(head.scores(own), item.seen), item.seen)
        for own, item in zip(logits, items, strict=True)
    ]


def chunks(places: Sequence[T], size: int) -> Iterator[list[T]]:
    """Cut a sequence into pieces of a size (`itertools.batched` comes with Python 3.12)."""
    remaining = iter(places)
    while chunk := list(islice(remaining, size)):
        yield chunk


def spread(count: int, most: int) -> list[int]:
    """Choose at most `most` of `count` places, evenly spread."""
    if count <= most:
        return list(range(count))
    return [place * count // most for place in range(most)]


def table(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Write scores as a Markdown table.

    Args:
        scores: By column ("model", "blind", "novel"), then by task, as `TaskScore.as_dict` gives them.

    Returns:
        Rows of tasks; per cent with one decimal.
    """
    head = "| task | items | chance | blind | model | novel compositions |\n|---|---:|---:|---:|---:|---:|"
    rows = [
        f"| `{task}` | {entry['items']:,} | {_cent(entry['chance'])} | {_cell(scores, 'blind', task)} "
        f"| **{_cent(entry['score'])}** | {_cell(scores, 'novel', task)} |"
        for task, entry in scores["model"].items()
    ]
    mean = {column: _mean(scores, column) for column in ("model", "blind", "novel")}
    rows.append(f"| mean | | | {mean['blind']} | **{mean['model']}** | {mean['novel']} |")
    return "\n".join([head, *rows])


def _cell(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], column: str, task: str) -> str:
    return _cent(scores[column][task]["score"]) if task in scores.get(column, {}) else ""


def _mean(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], column: str) -> str:
    found = [entry["score"] for entry in scores.get(column, {}).values()]
    return _cent(sum(found) / len(found)) if found else ""


def _cent(share: float) -> str:
    return f"{100 * share:.1f}"
