"""COCO and Flickr30k captions in the files of Karpathy's split, the one that retrieval is reported on.

Files: coco/dataset_coco.json and flickr30k/dataset_flickr30k.json.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data.entries import Entry, Once
from training.data.faults import OnFault, each
from training.data.files import is_file, is_there
from training.data.pictures import Identify, coco_identity, flickr30k_identity
from training.data.streams import entries
from twelve.tasks.records import CaptionedImage

_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test", "novel": "novel"}
"""Ours by the file's. "restval", COCO's validation pictures that Karpathy left over, joins train as everywhere."""


@dataclass(frozen=True)
class KarpathyReader:
    """Reads one such file.

    Attributes:
        expects: The file, relative to the root.
        identify: Gives a picture's id and path.
    """

    expects: str
    identify: Identify

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the file, if it is there."""
        return (self.expects,) if is_file(root, self.expects) else ()

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that at least one picture is in."""
        if not is_there(root, self.expects):
            return ()
        named = set(each(_split, entries(root, self.expects, "images"), on_fault))
        return tuple(dict.fromkeys(split for split in _SPLITS.values() if split in named))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[CaptionedImage]:
        """Yield the split's pictures in the file's order; one in two splits is a fault, whichever is read."""
        once = Once()

        def record(image: Entry) -> CaptionedImage | None:
            identity = self.identify(image)
            once.check(image, "filename", identity.id)
            return CaptionedImage(*identity, _captions(image)) if _split(image) == split else None

        return each(record, entries(root, self.expects, "images"), on_fault)


def _split(image: Entry) -> str:
    return _SPLITS[image.one_of("split", _SPLITS)]


def _captions(image: Entry) -> tuple[str, ...]:
    """Give the captions without the blanks around them; one without a word is left out."""
    raw = (sentence.text_or_empty("raw").strip() for sentence in image.entries("sentences"))
    captions = tuple(caption for caption in raw if caption)
    if not captions:
        raise image.complaint("sentences", "expected at least one caption that is not empty, got none")
    return captions


COCO = KarpathyReader("coco/dataset_coco.json", partial(coco_identity, name_field="filename", number_field="cocoid"))
FLICKR30K = KarpathyReader("flickr30k/dataset_flickr30k.json", partial(flickr30k_identity, name_field="filename"))
