"""NLVR2: statements about two pictures, JSON lines, and the pictures under the names of their pairs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from training.world.scene import Scene, Split
from training.world.words.comparisons import ComparisonSet, comparison_sets

from .corpus import SPLITS, Corpus
from .files import Json, write_json_lines

STEMS: Final[Mapping[Split, str]] = {"train": "train", "val": "dev", "test": "test1", "novel": "novel"}
DIRECTORIES: Final = 100
"""The pictures of train lie in so many folders."""

_WRITER: Final = "0"
_VALIDATORS: Final = ("1", "2", "3", "4")

Shown = list[tuple[str, Scene]]
"""Paths of pictures below the data root, and the scenes they show."""


def write(root: Path, corpus: Corpus) -> Shown:
    """Write the statements of every split.

    Returns:
        The pictures that the statements speak of; one scene is shown in many pairs.
    """
    shown: Shown = []
    for split in SPLITS:
        sets = comparison_sets(corpus.of("nlvr2", split), amount=corpus.amounts[split], rng=corpus.rng("nlvr2", split))
        write_json_lines(root / f"nlvr2/{STEMS[split]}.json", _rows(sets, split))
        for number, made in enumerate(sets):
            for pair, scenes in enumerate(made.pairs):
                shown += _pictures(split, number, pair=pair, scenes=scenes)
    return shown


def _pictures(split: Split, number: int, *, pair: int, scenes: Sequence[Scene]) -> Iterator[tuple[str, Scene]]:
    stem = STEMS[split]
    folder = f"{stem}/{number % DIRECTORIES}" if split == "train" else stem
    for side, scene in enumerate(scenes):
        yield f"images/nlvr2/{folder}/{stem}-{number}-{pair}-img{side}.png", scene


def _rows(sets: Sequence[ComparisonSet], split: Split) -> Iterator[dict[str, Json]]:
    for number, made in enumerate(sets):
        for sentence, statement in enumerate(made.statements):
            for pair, label in enumerate(statement.labels):
                identifier = f"{STEMS[split]}-{number}-{pair}-{sentence}"
                yield _row(identifier, statement.text, label, split=split, number=number)


def _row(identifier: str, text: str, label: bool, *, split: Split, number: int) -> dict[str, Json]:
    row = {
        "validation": {_WRITER: str(label)},
        "sentence": text,
        "left_url": "",
        "writer": _WRITER,
        "label": str(label),
        "right_url": "",
        "synset": "",
        "query": "",
        "identifier": identifier,
    }
    if split == "train":
        return {**row, "directory": number % DIRECTORIES}
    return {**row, "extra_validations": {who: str(label) for who in _VALIDATORS}}
