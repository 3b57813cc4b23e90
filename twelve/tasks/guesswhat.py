"""GuessWhat?!: which object a dialogue of yes-no questions singles out (arXiv:1611.08481).

The token is 17, the guesser's row. The published demo sends 16, a row that training never touched.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import FailFast, Field

from twelve.schema import MOST_TURNS, Boxes, Image, StoredImage, TaskRequest, Turn
from twelve.tasks.base import Draw, Labelled, Prompt
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES, Pointing
from twelve.tasks.records import GuessedObject


class DialogRequest(TaskRequest):
    """A dialogue about one of the boxes of a picture."""

    dialog: Annotated[tuple[Turn, ...], Field(min_length=1, max_length=MOST_TURNS), FailFast()]
    image: Image
    boxes: Boxes


class GuessWhat(Pointing[DialogRequest, GuessedObject]):
    """Guessing the object of a dialogue."""

    name = "guesswhat"
    token = 17
    request = DialogRequest
    text_field = "dialog"
    most_tokens = 256
    batch_size = 64
    summary = "Choose the box that a dialogue of yes-no questions singles out (GuessWhat?!)."

    def rows(self, request: DialogRequest) -> Prompt:
        """Put the dialogue before the picture, its turns marked as the published reader marks them."""
        text = " ".join(f"start {turn.question} answer {turn.answer} stop" for turn in request.dialog)
        return Prompt(rows=((text, 0),), images=(request.image,), boxes_px=request.boxes)

    def labelled(self, record: GuessedObject, draw: Draw) -> Labelled[DialogRequest]:
        """Guess the record's object."""
        del draw
        dialog = tuple(Turn(question=question, answer=answer) for question, answer in record.dialog)
        image = StoredImage(key=record.image)
        return Labelled(DialogRequest(dialog=dialog, image=image, boxes=record.boxes_px), record.answer)

    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """Single an object out in two turns."""
        dialog = [
            {"question": "Is it a vehicle?", "answer": "Yes"},
            {"question": "Is it on the left?", "answer": "No"},
        ]
        return {"dialog": dialog, "image": images[0], "boxes": list(map(list, EXAMPLE_BOXES))}


TASK = GuessWhat()
