"""NLVR2 as its authors evaluate it: accuracy, and how many statements are judged right of all their pairs."""

from collections.abc import Sequence

from training.metrics.figures import Report, by_group, figure
from training.metrics.prediction import Rated


def statement_of(identifier: str) -> str:
    """Give what the items of one statement share: "dev-850-0-0" and "dev-850-1-0" are about one sentence."""
    split, statements, _, sentence = identifier.split("-")
    return f"{split}-{statements}--{sentence}"


def report(predictions: Sequence[Rated], pairs: Sequence[str]) -> Report:
    """Rate verdicts.

    Args:
        predictions: Of some or all pairs.
        pairs: Identifiers of all pairs of the split.

    Returns:
        The figures; consistency is over statements of which all pairs were asked.

    Source: nlvr2/eval/metrics.py (lil-lab/nlvr at e6a286a), which calls accuracy precision.
    Differs: that needs every pair; a statement that was asked of some of its pairs only would seem more consistent
        than it is, so it is left out here.
    """
    whole = by_group((statement_of(identifier), identifier) for identifier in pairs)
    asked = by_group((statement_of(one.record.id), one.value) for one in predictions)
    complete = [values for statement, values in asked.items() if len(values) == len(whole[statement])]
    return {
        "accuracy": figure(one.value for one in predictions),
        "consistency": figure(float(all(values)) for values in complete),
    }
