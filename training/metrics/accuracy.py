"""Accuracy: the mean of a task's own metric, and the same by whatever its data set tells apart."""

from collections.abc import Sequence

from training.metrics.figures import Report, figure, figures
from training.metrics.prediction import Rated


def plain(predictions: Sequence[Rated]) -> Report:
    """Give the share of right answers: VG QA's top answer, Visual7W's and GuessWhat?!'s choice."""
    return {"accuracy": figure(one.value for one in predictions)}


def by_split(predictions: Sequence[Rated]) -> Report:
    """Give the share of right boxes, and that of each official split: val, testA (people), testB (other things)."""
    parts = figures((one.record.split, one.value) for one in predictions)
    return {**plain(predictions), "by split": parts}


def by_class(predictions: Sequence[Rated]) -> Report:
    """Give the share of right labels, and that of each right label."""
    return {**plain(predictions), "by class": figures((one.record.label, one.value) for one in predictions)}
