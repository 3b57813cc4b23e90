"""Referring: which of the detected regions an expression means."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from twelve.boxes import overlaps
from twelve.model.config import Labels
from twelve.schema import Image, StoredImage, TaskRequest, Text
from twelve.tasks.base import BEST, Decoded, Draw, Labelled, Prompt, Seen, Task, ranked
from twelve.tasks.kinds.losses import independent
from twelve.tasks.records import BoxXYXY, ReferredBox

FIRST_REGION = 1
"""After the global region, which is never an answer (12-in-1's code lets it be one)."""

RIGHT_OVERLAP = 0.5
"""Intersection over union from which on a region is right."""


class ExpressionRequest(TaskRequest):
    """An expression that means one thing in a picture."""

    expression: Text
    image: Image


class Referring(Task[ExpressionRequest, ReferredBox]):
    """Shared by RefCOCO, RefCOCO+ and RefCOCOg."""

    group = "grounding"
    head = "grounding"
    request = ExpressionRequest
    text_field = "expression"
    most_tokens = 20
    batch_size = 256

    def rows(self, request: ExpressionRequest) -> Prompt:
        """Put the expression before the picture."""
        return Prompt(rows=((request.expression, 0),), images=(request.image,))

    def choices(self, values: Tensor, seen: Seen) -> Tensor:
        """Leave the global region out."""
        return values[FIRST_REGION : FIRST_REGION + len(seen.regions[0])]

    def decode(self, scores: Tensor, seen: Seen) -> Decoded:
        """Take the region with the best score; answers are boxes."""
        boxes = [[round(side, 2) for side in box] for box in seen.regions[0].boxes_px.tolist()]
        candidates = ranked(scores, boxes, most=BEST)
        return Decoded(candidates[0].answer, candidates)

    def labelled(self, record: ReferredBox, draw: Draw) -> Labelled[ExpressionRequest]:
        """Ask for the record's box."""
        del draw
        return Labelled(
            ExpressionRequest(expression=record.expression, image=StoredImage(key=record.image)), record.box_px
        )

    def target(self, target: BoxXYXY, seen: Seen) -> Tensor:
        """Give each region its overlap with the right box, 0 below one half."""
        shared = overlaps(seen.regions[0].boxes_px, torch.tensor([target]))[:, 0]  # [R]
        return torch.where(shared >= RIGHT_OVERLAP, shared, torch.zeros_like(shared))

    def loss(self, choices: Sequence[Tensor], targets: Sequence[Tensor], labels: Labels) -> Tensor:
        """Train each region on its own."""
        del labels
        return independent(choices, targets)

    def metric(self, answer: Any, target: BoxXYXY) -> float:
        """Rate 1 where the boxes overlap by at least one half."""
        return float(overlaps(torch.tensor([answer]), torch.tensor([target])).item() >= RIGHT_OVERLAP)

    def chance(self, target: BoxXYXY, seen: Seen) -> float:
        """Guess evenly among the regions."""
        return float((self.target(target, seen) > 0).float().mean())

    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """Mean a thing by its place."""
        return {"expression": "the red car on the left", "image": images[0]}
