"""Which evaluation rates which task's split: the one table from a task's name to its official figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from training.data.gqa import question_choices, question_facts
from training.metrics import accuracy, gqa, verdicts, vqa
from training.metrics.figures import Report
from training.metrics.prediction import Rated


@dataclass(frozen=True)
class Split:
    """What was asked.

    Attributes:
        root: The folder that holds all data sets.
        name: Of the split.
        records: All of its items, asked or not.
    """

    root: Path
    name: str
    records: Sequence[Any]


def report(task: str, predictions: Sequence[Rated], split: Split) -> Report:
    """Give a task's official figures; of a task without an evaluation of its own, its accuracy."""
    return METRICS.get(task, _accuracy)(predictions, split)


def _accuracy(predictions: Sequence[Rated], split: Split) -> Report:
    del split
    return accuracy.plain(predictions)


def _referring(predictions: Sequence[Rated], split: Split) -> Report:
    del split
    return accuracy.by_split(predictions)


def _entailment(predictions: Sequence[Rated], split: Split) -> Report:
    del split
    return accuracy.by_class(predictions)


def _vqa(predictions: Sequence[Rated], split: Split) -> Report:
    del split
    return vqa.report(predictions)


def _gqa(predictions: Sequence[Rated], split: Split) -> Report:
    asked = {one.record.id for one in predictions}
    facts = {question: found for question, found in question_facts(split.root, split.name) if question in asked}
    choices = {question: found for question, found in question_choices(split.root, split.name) if question in asked}
    return gqa.report(predictions, facts, choices)


def _verdicts(predictions: Sequence[Rated], split: Split) -> Report:
    return verdicts.report(predictions, [record.id for record in split.records])


METRICS: Mapping[str, Callable[[Sequence[Rated], Split], Report]] = MappingProxyType(
    {
        "vqa-v2": _vqa,
        "gqa": _gqa,
        "refcoco": _referring,
        "refcoco+": _referring,
        "refcocog": _referring,
        "nlvr2": _verdicts,
        "snli-ve": _entailment,
    }
)
"""VG QA, Visual7W and GuessWhat?! are rated by their accuracy alone; retrieval by `training.ranking` on a gallery."""
