"""Files that stand beside the data sets and that no task is trained on: their names, and how they are checked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data import clean, entities, gqa, scene_graphs, vqa
from training.data.entries import Entry, Once
from training.data.faults import Fault, OnFault, each
from training.data.identity import GENOME_IMAGES
from training.data.streams import entries, json_lines, stream
from twelve.errors import DataError

Read = Callable[[Path, str, OnFault], Iterator[object]]
"""Yields what can be read of a file that is named relative to the root."""


@dataclass(frozen=True)
class Companion:
    """One kind of file.

    Attributes:
        name: What is counted.
        files: Gives those of a root that are there, relative to it.
        read: Reads one of them.
    """

    name: str
    files: Callable[[Path], Sequence[str]]
    read: Read


def _like(*patterns: str) -> Callable[[Path], Sequence[str]]:
    def files(root: Path) -> Sequence[str]:
        found = (path for pattern in patterns for path in sorted(root.glob(pattern)))
        return [path.relative_to(root).as_posix() for path in found]

    return files


def _genome_pictures(root: Path, name: str, on_fault: OnFault) -> Iterator[int]:
    return each(partial(_genome_picture, Once()), entries(root, name), on_fault)


def _genome_picture(once: Once, picture: Entry) -> int:
    for field in ("width", "height"):
        picture.positive(field)
    for field in ("coco_id", "flickr_id"):
        if picture.has(field):
            picture.natural(field)
    return once.check(picture, "image_id", picture.natural("image_id"))


def _scenes(root: Path, name: str, on_fault: OnFault) -> Iterator[int]:
    once = Once()
    return each(lambda scene: once.check(scene, "id", scene.natural("id")), json_lines(root, name, on_fault), on_fault)


def _manifest(root: Path, name: str, on_fault: OnFault) -> Iterator[clean.Manifest]:
    try:
        manifest = clean.Manifest.load(root)
        manifest.verify(root)
    except DataError as error:
        raise Fault(name, reason=error.message) from error
    yield manifest


COMPANIONS = (
    Companion("vqa-v2 pairs", vqa.pair_files, vqa.complementary_pairs),
    Companion("gqa facts", gqa.fact_files, gqa.facts),
    Companion("gqa choices", gqa.choice_files, gqa.choices),
    Companion("gqa scene graphs", _like(*scene_graphs.FILES), scene_graphs.scene_graphs),
    Companion("vg pictures", _like(GENOME_IMAGES), _genome_pictures),
    Companion("flickr30k entities", _like(f"{entities.FOLDER}/*.txt"), entities.captions_of),
    Companion("small world", _like("scenes.jsonl"), _scenes),
    Companion("small world, sizes", _like("world.json"), lambda root, name, on_fault: stream(root, name)),
    Companion("clean manifest", _like(clean.MANIFEST), _manifest),
)
"""Of the official files, then of what this program writes into a data root."""
