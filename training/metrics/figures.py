"""Figures: a mean and how many values it is of, alone or by group."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

Report = Mapping[str, Any]
"""Figures by name, and figures by group under a name; plain values for JSON."""

PLACES = 4
"""Decimals of a share."""


def by_group(values: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """Collect values by group, groups in order."""
    groups: dict[str, list[T]] = defaultdict(list)
    for group, value in values:
        groups[group].append(value)
    return dict(sorted(groups.items()))


def mean(values: Iterable[float]) -> float:
    """Average values, of which there is at least one."""
    listed = list(values)
    return sum(listed) / len(listed)


def figure(values: Iterable[float]) -> dict[str, Any]:
    """Give a mean and its number of values; a mean of nothing is null."""
    listed = list(values)
    return {"score": round(mean(listed), PLACES) if listed else None, "items": len(listed)}


def figures(values: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """Give a figure of each group that has a name."""
    return {group: figure(listed) for group, listed in by_group(values).items() if group}
