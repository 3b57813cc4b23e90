"""GuessWhat?!: one game a line, in either of the two layouts that were published under the same file names.

Files: guesswhat/guesswhat.{train|valid|test}.jsonl, or the same with .gz.

Layout A is the first release (used by 12-in-1), layout B the one that replaced it in 2022.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

from training.data.entries import Entry, Once
from training.data.faults import OnFault, each
from training.data.files import is_file, is_there
from training.data.pictures import named_coco_image
from training.data.streams import json_lines
from twelve.tasks.records import BoxXYXY, GuessedObject

_STEMS = {"train": "train", "val": "valid", "test": "test", "novel": "novel"}
_STATUSES = ("success", "failure", "incomplete")
_ANSWERS = ("Yes", "No", "N/A")


@dataclass(frozen=True)
class _Layout:
    """What a layout calls things."""

    game_id: str
    picture: str
    question: str
    answer: str
    object_id: str
    objects: Callable[[Entry], list[Entry]]


_LAYOUT_A = _Layout("id", "image", "question", "answer", "id", lambda game: game.entries("objects"))
_LAYOUT_B = _Layout(
    "dialogue_id", "picture", "q", "a", "object_id", lambda game: list(game.members("objects").values())
)


class GuessWhatReader:
    """Reads GuessWhat?!; only games that ended in success, as in the published evaluation."""

    expects = "guesswhat/guesswhat.{train|valid|test}.jsonl (or .jsonl.gz)"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files that are there; of a plain and a packed one, the plain one, which is read."""
        return tuple(name for name in (_file(root, split) for split in _STEMS) if name and is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that have a file."""
        return tuple(split for split in _STEMS if _file(root, split))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[GuessedObject]:
        """Yield the successful games in the file's order."""
        games = json_lines(root, _file(root, split) or _names(split)[0], on_fault)
        return each(partial(_record, Once()), games, on_fault)


def _names(split: str) -> tuple[str, str]:
    name = f"guesswhat/guesswhat.{_STEMS[split]}.jsonl"
    return name, f"{name}.gz"


def _file(root: Path, split: str) -> str | None:
    return next((name for name in _names(split) if is_there(root, name)), None)


def _record(once: Once, game: Entry) -> GuessedObject | None:
    if game.one_of("status", _STATUSES) != "success":
        return None
    layout = _LAYOUT_B if game.has(_LAYOUT_B.picture) else _LAYOUT_A
    picture = game.entry(layout.picture)
    image = _image(game, picture)
    boxes = _boxes(game, layout, picture)
    meant = game.natural("object_id")
    if meant not in boxes:
        raise game.complaint("object_id", f"object {meant} is not among the {len(boxes)} objects of the game")
    return GuessedObject(
        id=str(once.check(game, layout.game_id, game.natural(layout.game_id))),
        image=image,
        dialog=tuple(
            (turn.text(layout.question), turn.one_of(layout.answer, _ANSWERS)) for turn in game.entries("qas")
        ),
        boxes_px=tuple(boxes.values()),
        answer=list(boxes).index(meant),
        box_ids=tuple(boxes),
    )


def _image(game: Entry, picture: Entry) -> str:
    """Give the picture's path; layout B numbers it beside, and the number must agree."""
    if not game.has("picture_id"):
        return named_coco_image(picture, "file_name")
    path, number = named_coco_image(picture, "file_name"), game.natural("picture_id")
    if not path.endswith(f"_{number:012d}.jpg"):
        raise game.complaint("picture_id", f"got {number}, but file_name is {path.rpartition('/')[2]}")
    return path


def _boxes(game: Entry, layout: _Layout, picture: Entry) -> dict[int, BoxXYXY]:
    """Give the boxes by object id, in the order of the ids: the same for both layouts."""
    once = Once()
    boxes = {
        once.check(entry, layout.object_id, entry.natural(layout.object_id)): _box(entry, picture)
        for entry in layout.objects(game)
    }
    return dict(sorted(boxes.items()))


def _box(entry: Entry, picture: Entry) -> BoxXYXY:
    """Take a box, which must reach into the picture where the file says how large that is."""
    left, top, right, bottom = box_px = entry.box("bbox")
    width, height = (picture.positive(side) if picture.has(side) else inf for side in ("width", "height"))
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise entry.fault("bbox", expected=f"a box that reaches into the picture of {width} x {height} pixels")
    return box_px
