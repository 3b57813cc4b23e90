"""GuessWhat?!: one game a line, in the layout of the current release."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from training.world.kinds import KINDS
from training.world.scene import Scene, Split
from training.world.words.dialogs import Game, games

from .coco_instances import box_xywh
from .corpus import SPLITS, Corpus
from .files import Json, write_json_lines
from .names import coco_id, coco_name, coco_thing, coco_url

_STEMS: Final[Mapping[Split, str]] = {"train": "train", "val": "valid", "test": "test", "novel": "novel"}
_TURNS_PER_GAME: Final = 10
_GAMES_PER_SPLIT: Final = 10_000_000
_ANY_TIME: Final = "2016-07-08 15:06:34"


def write(root: Path, corpus: Corpus) -> None:
    """Write the games of every split."""
    for place, split in enumerate(SPLITS):
        rng = corpus.rng("guesswhat", split)
        played = games(corpus.of("coco", split), amount=corpus.amounts[split], rng=rng)
        more = _overlapping(corpus, split)
        rows = (_row(game, place * _GAMES_PER_SPLIT + number) for number, game in enumerate([*played, *more]))
        write_json_lines(root / f"guesswhat/guesswhat.{_STEMS[split]}.jsonl", rows)


def _overlapping(corpus: Corpus, split: Split) -> list[Game]:
    """Play with test pictures, too."""
    scenes, rng = corpus.overlapping("coco", split), corpus.rng("guesswhat overlapping", split)
    return games(scenes, amount=corpus.overlapping_amount("coco", split), rng=rng)


def _row(game: Game, number: int) -> dict[str, Json]:
    scene = game.scene
    return {
        "status": _STATUSES[game.is_success],
        "picture": _picture(scene),
        "picture_id": coco_id(scene),
        "qas": [
            {"q": turn.question, "a": turn.answer, "id": number * _TURNS_PER_GAME + place}
            for place, turn in enumerate(game.turns)
        ],
        "questioner_id": 0,
        "timestamp": _ANY_TIME,
        "object_id": coco_thing(scene, game.target),
        "dialogue_id": number,
        "objects": {str(coco_thing(scene, index)): _object(scene, index) for index in range(len(scene.things))},
    }


_STATUSES: Final[Mapping[bool, str]] = {True: "success", False: "failure"}


def _picture(scene: Scene) -> dict[str, Json]:
    return {
        "file_name": coco_name(scene),
        "flickr_url": "",
        "width": scene.width,
        "coco_url": coco_url(scene),
        "height": scene.height,
    }


def _object(scene: Scene, index: int) -> dict[str, Json]:
    thing = scene.things[index]
    return {
        "category": thing.kind,
        "area": float(thing.area_px),
        "iscrowd": False,
        "object_id": coco_thing(scene, index),
        "bbox": box_xywh(thing),
        "category_id": KINDS[thing.kind].category_id,
        "segment": [list(thing.polygon_px)],
    }
