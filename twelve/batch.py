"""Rows, passes and spans: how requests of any tasks share passes and get their own rows back.

Shapes: N rows of a pass · T tokens (task token included) · R regions (global one first) · F feature width.
A request is one or more rows (VQA one, NLVR2 two, retrieval one a candidate picture); its Span says which are its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from twelve.boxes import global_location, locations
from twelve.regions.extractor import RegionSet

ROWS_PER_PASS = 8
"""Most rows of a pass by default: weights are read once for all of them, and the candidates of a retrieval with equally
many regions are up to 1.7 times faster together than one by one (docs/decisions/0004). More gain little more."""


@dataclass(frozen=True)
class Text:
    """One text as the model reads it: equal texts are encoded once."""

    token_ids: tuple[int, ...]
    task_token: int


@dataclass(frozen=True)
class Visual:
    """One picture as the model reads it: [R, F] features and [R, 5] locations, the global region first."""

    features: Tensor
    locations: Tensor

    def __len__(self) -> int:
        """Count the regions, the global one included."""
        return int(self.features.shape[0])


class Row(NamedTuple):
    """One text before one picture; `text` and `visual` are positions in the batch's lists."""

    text: int
    visual: int


class Span(NamedTuple):
    """The rows [start, stop) of one request."""

    start: int
    stop: int


@dataclass
class Batch:
    """What a set of requests asks of the engine: distinct texts, distinct pictures, rows, and each request's span."""

    texts: list[Text]
    visuals: list[Visual]
    rows: list[Row]
    spans: list[Span]

    def narrowed(self, spans: Sequence[Span]) -> "Batch":
        """Give the batch with these requests' rows alone, one after the other; texts and pictures keep their places."""
        stops = list(accumulate((span.stop - span.start for span in spans), initial=0))
        rows = [row for span in spans for row in self.rows[span.start : span.stop]]
        return Batch(self.texts, self.visuals, rows, [Span(*ends) for ends in pairwise(stops)])


class Pass(NamedTuple):
    """Rows that run through the fusing graph together."""

    rows: tuple[int, ...]


def visual(regions: RegionSet) -> Visual:
    """Put the global region, the mean of the detected ones, before a picture's regions.

    Args:
        regions: At least one.

    Returns:
        [R+1, F] features and [R+1, 5] locations.

    Source: 12-in-1, section 3.1; the published `ImageFeaturesH5Reader`.
    Differs: boxes that the caller gave do not enter the mean, so that asking about a box does not change the picture.
    """
    detected = regions.features[: len(regions) - regions.given] if len(regions) > regions.given else regions.features
    features = torch.cat([detected.mean(dim=0, keepdim=True), regions.features])
    where = locations(regions.boxes_px, height=regions.height, width=regions.width)
    return Visual(features, torch.cat([global_location(), where]))


class BatchBuilder:
    """Collects requests' rows; equal texts and identical pictures are kept once, unless told otherwise."""

    def __init__(self, *, texts_once: bool = True, pictures_once: bool = True) -> None:
        self._batch = Batch([], [], [], [])
        self._texts_once = texts_once
        self._pictures_once = pictures_once
        self._texts: dict[Text, int] = {}
        self._visuals: dict[int, int] = {}

    def add(self, pairs: Sequence[tuple[Text, Visual]]) -> Span:
        """Add one request's rows.

        Args:
            pairs: Its rows, in order. Pictures are told apart by identity, texts by value.

        Returns:
            Where its rows stand.
        """
        start = len(self._batch.rows)
        self._batch.rows.extend(Row(self._text(text), self._visual(visual)) for text, visual in pairs)
        span = Span(start, len(self._batch.rows))
        self._batch.spans.append(span)
        return span

    def build(self) -> Batch:
        """Give the batch."""
        return self._batch

    def _text(self, text: Text) -> int:
        if not self._texts_once or text not in self._texts:
            self._texts[text] = len(self._batch.texts)
            self._batch.texts.append(text)
        return self._texts[text]

    def _visual(self, visual: Visual) -> int:
        if not self._pictures_once or id(visual) not in self._visuals:
            self._visuals[id(visual)] = len(self._batch.visuals)
            self._batch.visuals.append(visual)
        return self._visuals[id(visual)]


def plan(batch: Batch, *, rows_per_pass: int, slack: float = 0.0) -> list[Pass]:
    """Group rows of like length into passes; tasks may mix in a pass.

    Args:
        batch: Whose rows to group.
        rows_per_pass: Most rows of a pass; see `ROWS_PER_PASS`.
        slack: How much longer the longest text or picture of a pass may be than a row's own, as a share; 0 allows no
            padding at all.

    Returns:
        Passes that hold each row once, long rows first.
    """

    def sizes(row: int) -> tuple[int, int]:
        return (len(batch.visuals[batch.rows[row].visual]), len(batch.texts[batch.rows[row].text].token_ids))

    passes: list[list[int]] = []
    for row in sorted(range(len(batch.rows)), key=sizes, reverse=True):
        longest = sizes(passes[-1][0]) if passes else (0, 0)
        fits = all(own >= size * (1 - slack) for own, size in zip(sizes(row), longest, strict=True)) and all(
            own <= size for own, size in zip(sizes(row), longest, strict=True)
        )
        if passes and fits and len(passes[-1]) < rows_per_pass:
            passes[-1].append(row)
        else:
            passes.append([row])
    return [Pass(tuple(rows)) for rows in passes]


def pad(items: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack [L_i, …] items as one [N, L, …] tensor.

    Args:
        items: Of one type and equal but for their first dimension.

    Returns:
        The stack, zeros where an item ends early, and a [N, L] mask, True where an item is.
    """
    longest = max(len(item) for item in items)
    mask = torch.stack([torch.arange(longest) < len(item) for item in items])
    if all(len(item) == longest for item in items):
        return torch.stack(list(items)), mask
    stack = items[0].new_zeros(len(items), longest, *items[0].shape[1:])
    for index, item in enumerate(items):
        stack[index, : len(item)] = item
    return stack, mask
