"""RefCOCO, RefCOCO+, RefCOCOg: expressions in a pickle, their boxes in a COCO file beside it.

Files: {name}/instances.json and {name}/refs({splitter}).p.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from training.data.entries import Entry, Once
from training.data.faults import Fault, OnFault, each, ignore
from training.data.files import is_file, is_there
from training.data.pickles import load_plain
from training.data.pictures import named_coco_image
from training.data.streams import Element, no_row, stream
from twelve.tasks.records import BoxXYXY, ReferredBox

_OFFICIAL_SPLITS = ("train", "val", "test", "testA", "testB", "novel")
_MEMBERS = {"test": ("test", "testA", "testB")}
"""Which official splits one of ours holds, where it is more than itself: testA shows people, testB other things."""


@dataclass(frozen=True)
class _Referent:
    """What one ref of the pickle means."""

    image: str
    box_px: BoxXYXY
    split: str
    sentences: list[Entry]


class _Picture(NamedTuple):
    path: str
    width: int
    height: int


@dataclass(frozen=True)
class _Instances:
    """What refs point at: boxes with their pictures' ids, and pictures."""

    boxes: dict[int, tuple[int, BoxXYXY]]
    images: dict[int, _Picture]


@dataclass(frozen=True)
class ReferReader:
    """Reads one of the three.

    Attributes:
        folder: Relative to the root.
        splitters: Whose refs file to read; the first that is there.
    """

    folder: str
    splitters: tuple[str, ...]

    @property
    def expects(self) -> str:
        """Give the files it reads, in words."""
        return f"{self.folder}/refs({self.splitters[0]}).p and {self.folder}/instances.json"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files that are there; of several refs files, the one that is read."""
        names = (self._refs_file(root), f"{self.folder}/instances.json")
        return tuple(name for name in names if name is not None and is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that at least one ref is in; "test" also stands for testA and testB."""
        if self._refs_file(root) is None:
            return ()
        named = set(each(_split, self._refs(root), on_fault))
        return tuple(split for split in _OFFICIAL_SPLITS if named & {*_MEMBERS.get(split, (split,))})

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[ReferredBox]:
        """Yield one record a sentence, in the pickle's order."""
        refs = self._refs(root)
        instances = self._instances(root, set(each(_annotation_id, refs, ignore)), on_fault)
        members = _MEMBERS.get(split, (split,))

        def referent(ref: Entry) -> _Referent | None:
            return _referent(ref, instances) if _split(ref) in members else None

        once = Once()
        for found in each(referent, refs, on_fault):
            yield from each(partial(_record, found, once), found.sentences, on_fault)

    def _refs_file(self, root: Path) -> str | None:
        names = (f"{self.folder}/refs({splitter}).p" for splitter in self.splitters)
        return next((name for name in names if is_there(root, name)), None)

    def _refs(self, root: Path) -> list[Entry]:
        name = self._refs_file(root) or f"{self.folder}/refs({self.splitters[0]}).p"
        refs = load_plain(root, name)
        if not isinstance(refs, list):
            raise Fault(name, reason=f"expected a list of refs, got {type(refs).__name__}")
        if not refs:
            raise no_row(name)
        return [Entry(ref, name, f"[{index}]") for index, ref in enumerate(refs)]

    def _instances(self, root: Path, wanted: Collection[int], on_fault: OnFault) -> _Instances:
        """Collect the pictures and the wanted annotations; the others (crowds, empty boxes) are nobody's concern."""
        name = f"{self.folder}/instances.json"
        found, images, annotations = _Instances({}, {}), Once(), Once()

        def collect_image(image: Entry) -> None:
            picture = _Picture(named_coco_image(image, "file_name"), image.positive("width"), image.positive("height"))
            found.images[images.check(image, "id", image.natural("id"))] = picture

        def collect_box(annotation: Entry) -> None:
            annotation_id = annotation.natural("id")
            if annotation_id in wanted:
                annotations.check(annotation, "id", annotation_id)
                found.boxes[annotation_id] = (annotation.natural("image_id"), annotation.box("bbox"))

        collectors = {"images": collect_image, "annotations": collect_box}

        def collect(element: Element) -> None:
            collectors[element.key](Entry(element.value, name, f"{element.key}[{element.position}]"))

        listed = (
            element for element in stream(root, name) if element.key in collectors and element.position is not None
        )
        for _ in each(collect, listed, on_fault):
            pass
        return found


def _split(ref: Entry) -> str:
    return ref.one_of("split", _OFFICIAL_SPLITS)


def _annotation_id(ref: Entry) -> int:
    return ref.natural("ann_id")


def _referent(ref: Entry, instances: _Instances) -> _Referent:
    annotation_id, image_id = ref.natural("ann_id"), ref.natural("image_id")
    if annotation_id not in instances.boxes:
        raise ref.complaint("ann_id", f"instances.json has no readable annotation {annotation_id}")
    shown_in, box_px = instances.boxes[annotation_id]
    if shown_in != image_id:
        raise ref.complaint("image_id", f"got {image_id}, but annotation {annotation_id} is in picture {shown_in}")
    if image_id not in instances.images:
        raise ref.complaint("image_id", f"instances.json has no readable picture {image_id}")
    picture = instances.images[image_id]
    if box_px[0] >= picture.width or box_px[1] >= picture.height or box_px[2] <= 0 or box_px[3] <= 0:
        raise ref.complaint("ann_id", f"the box of annotation {annotation_id} lies outside its picture")
    return _Referent(picture.path, box_px, _split(ref), ref.entries("sentences"))


def _record(referent: _Referent, once: Once, sentence: Entry) -> ReferredBox:
    return ReferredBox(
        id=str(once.check(sentence, "sent_id", sentence.natural("sent_id"))),
        image=referent.image,
        expression=sentence.text("raw"),
        box_px=referent.box_px,
        split=referent.split,
    )


REFCOCO = ReferReader("refcoco", ("unc", "google"))
REFCOCO_PLUS = ReferReader("refcoco+", ("unc",))
REFCOCOG = ReferReader("refcocog", ("umd", "google"))
