"""Retrieving: which of several pictures a caption describes."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import FailFast, Field
from torch import Tensor

from twelve.model.config import Labels
from twelve.schema import Image, StoredImage, TaskRequest, Text
from twelve.tasks.base import Decoded, Draw, Labelled, Prompt, Seen, Task, ranked
from twelve.tasks.kinds.losses import exclusive, one_hot
from twelve.tasks.records import CaptionedImage

FEWEST, MOST = 2, 32
"""Pictures of one request."""

WAYS = 4
"""Pictures of a training or test item (12-in-1, section 3.2: 4-way multiple choice)."""


class CaptionRequest(TaskRequest):
    """A caption and the pictures it may describe."""

    caption: Text
    images: Annotated[tuple[Image, ...], Field(min_length=FEWEST, max_length=MOST), FailFast()]


class Retrieving(Task[CaptionRequest, CaptionedImage]):
    """Shared by COCO and Flickr30k retrieval."""

    group = "retrieving"
    head = "alignment"
    request = CaptionRequest
    text_field = "caption"
    most_tokens = 30
    batch_size = 128
    pictures_in_example = 3

    def rows(self, request: CaptionRequest) -> Prompt:
        """Put the caption before each picture."""
        pairs = tuple((request.caption, place) for place in range(len(request.images)))
        return Prompt(rows=pairs, images=request.images)

    def decode(self, scores: Tensor, seen: Seen) -> Decoded:
        """Take the picture with the best score; answers are indices."""
        del seen
        candidates = ranked(scores, range(len(scores)))
        return Decoded(candidates[0].answer, candidates)

    def labelled(self, record: CaptionedImage, draw: Draw) -> Labelled[CaptionRequest]:
        """Hide the record's picture among others.

        Differs: all three negatives are pictures. The published code draws one picture and two captions.
        """
        others = list(draw.others(record.image, WAYS - 1))
        right = draw.place(WAYS)
        keys = [*others[:right], record.image, *others[right:]]
        images = tuple(StoredImage(key=key) for key in keys)
        return Labelled(CaptionRequest(caption=record.captions[0], images=images), right)

    def target(self, target: int, seen: Seen) -> Tensor:
        """Mark the right picture."""
        return one_hot(target, len(seen.regions))

    def loss(self, choices: Sequence[Tensor], targets: Sequence[Tensor], labels: Labels) -> Tensor:
        """Let the pictures compete."""
        del labels
        return exclusive(choices, targets)

    def metric(self, answer: Any, target: int) -> float:
        """Rate 1 for the right index."""
        return float(answer == target)

    def chance(self, target: int, seen: Seen) -> float:
        """Guess evenly among the pictures."""
        del target
        return 1 / len(seen.regions)

    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """Look for a picture."""
        return {"caption": "A red car and a dog on a street.", "images": list(images)}

    def expand(self, record: CaptionedImage) -> Sequence[CaptionedImage]:
        """Ask each caption on its own."""
        return [dataclasses.replace(record, captions=(caption,)) for caption in record.captions]
