"""RefCOCO, RefCOCO+ and RefCOCOg: expressions in a pickle, what they mean in a COCO file beside it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from training.world.kinds import KINDS
from training.world.scene import Scene
from training.world.words import expressions, lexicon

from .coco_instances import instances
from .corpus import SPLITS, Corpus
from .files import Json, write_json
from .names import coco_id, coco_name, coco_thing
from .pickles import write_pickle

Expressions = Callable[[Scene, Random], dict[int, list[str]]]
SplitOf = Callable[[Scene, int], str]

_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True)
class ReferringSet:
    """One of the three data sets.

    Attributes:
        name: And folder.
        splitter: Whose splits they are: "unc", "umd".
        refer: Gives expressions by index of the thing.
        split_of: Gives the official split of a ref.
    """

    name: str
    splitter: str
    refer: Expressions
    split_of: SplitOf

    def write(self, root: Path, corpus: Corpus) -> None:
        """Write instances.json and the refs."""
        rng, refs = corpus.rng(self.name), _Refs()
        for scene in corpus.all_of("coco"):
            for index, listed in self.refer(scene, rng).items():
                refs.add(scene, index, listed, split=self.split_of(scene, index))
        write_pickle(root / self.name / f"refs({self.splitter}).p", refs.rows)
        scenes = [scene for split in SPLITS for scene in corpus.of("coco", split)]
        write_json(root / self.name / "instances.json", instances(scenes))


@dataclass
class _Refs:
    """Collects refs, numbering them and their sentences."""

    rows: list[dict[str, Json]] = field(default_factory=list)
    sentences: int = 0

    def add(self, scene: Scene, index: int, listed: Sequence[str], *, split: str) -> None:
        """Add the expressions for one thing."""
        ids = [self.sentences + place for place in range(len(listed))]
        self.sentences += len(listed)
        annotation = coco_thing(scene, index)
        self.rows.append(
            {
                "sent_ids": ids,
                "file_name": f"{coco_name(scene).removesuffix('.jpg')}_{annotation}.jpg",
                "ann_id": annotation,
                "ref_id": len(self.rows),
                "image_id": coco_id(scene),
                "split": split,
                "sentences": [_sentence(text, number) for text, number in zip(listed, ids, strict=True)],
                "category_id": KINDS[scene.things[index].kind].category_id,
            }
        )


def _sentence(text: str, number: int) -> dict[str, Json]:
    return {"tokens": _WORD.findall(text.lower()), "raw": text, "sent_id": number, "sent": text.lower()}


def _split_by_life(scene: Scene, index: int) -> str:
    """Deal the test out to testA, people and animals, and testB, all other things."""
    return _TEST_SPLITS[lexicon.is_living(scene.things[index].kind)] if scene.split == "test" else scene.split


def _split_of_scene(scene: Scene, index: int) -> str:
    return scene.split


_TEST_SPLITS: Final[Mapping[bool, str]] = {True: "testA", False: "testB"}

REFCOCO: Final = ReferringSet("refcoco", "unc", expressions.placed_expressions, _split_by_life)
REFCOCO_PLUS: Final = ReferringSet("refcoco+", "unc", expressions.placeless_expressions, _split_by_life)
REFCOCOG: Final = ReferringSet("refcocog", "umd", expressions.long_expressions, _split_of_scene)
