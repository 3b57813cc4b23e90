"""A picture's regions apart, those that were detected and those that the caller gave, and together again."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from twelve.regions.extractor import RegionSet


def detected(regions: RegionSet) -> RegionSet:
    """Give a picture's regions without those that the caller gave."""
    return _rows(regions, slice(len(regions) - regions.given), given=0)


def given(regions: RegionSet) -> RegionSet:
    """Give the regions that the caller gave, without those that were detected."""
    return _rows(regions, slice(len(regions) - regions.given, None), given=regions.given)


def joined(parts: Sequence[RegionSet]) -> RegionSet:
    """Put a picture's regions together.

    Args:
        parts: The detected ones, then perhaps the given ones.

    Returns:
        All of them.
    """
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        features=torch.cat([part.features for part in parts]),
        boxes_px=torch.cat([part.boxes_px for part in parts]),
        scores=torch.cat([part.scores for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        given=parts[-1].given,
    )


def _rows(regions: RegionSet, rows: slice, *, given: int) -> RegionSet:
    """Copy some rows: a view would keep all of them in memory."""
    return replace(
        regions,
        features=regions.features[rows].clone(),
        boxes_px=regions.boxes_px[rows].clone(),
        scores=regions.scores[rows].clone(),
        labels=regions.labels[rows].clone(),
        given=given,
    )
