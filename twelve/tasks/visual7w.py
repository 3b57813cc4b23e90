"""Visual7W pointing: which of four boxes answers a "which" question (arXiv:1511.03416)."""

from collections.abc import Sequence
from typing import Any

from twelve.schema import Boxes, Image, StoredImage, TaskRequest, Text
from twelve.tasks.base import Draw, Labelled, Prompt
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES, Pointing
from twelve.tasks.records import PointedBox


class PointRequest(TaskRequest):
    """A question, a picture and the boxes that may answer it."""

    question: Text
    image: Image
    boxes: Boxes


class Visual7w(Pointing[PointRequest, PointedBox]):
    """Pointing at one of the given boxes."""

    name = "visual7w"
    token = 4
    request = PointRequest
    text_field = "question"
    most_tokens = 20
    batch_size = 256
    summary = "Choose the box that answers a 'which' question (Visual7W)."

    def rows(self, request: PointRequest) -> Prompt:
        """Put the question before the picture."""
        return Prompt(rows=((request.question, 0),), images=(request.image,), boxes_px=request.boxes)

    def labelled(self, record: PointedBox, draw: Draw) -> Labelled[PointRequest]:
        """Ask the record's question about its boxes."""
        del draw
        image = StoredImage(key=record.image)
        return Labelled(PointRequest(question=record.question, image=image, boxes=record.boxes_px), record.answer)

    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """Ask which of three."""
        return {"question": "Which thing is red?", "image": images[0], "boxes": list(map(list, EXAMPLE_BOXES))}


TASK = Visual7w()
