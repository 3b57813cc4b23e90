"""COCO and Flickr30k captions in the files of Karpathy's split, the one that retrieval is reported on.

Files: coco/dataset_coco.json and flickr30k/dataset_flickr30k.json.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from training.data.entries import Entry
from training.data.faults import OnFault, each
from training.data.pictures import flickr30k_id, flickr30k_image, named_coco_image
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
    identify: Callable[[Entry], tuple[str, str]]

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that at least one picture is in."""
        if not (root / self.expects).is_file():
            return ()
        named = set(each(_split, entries(root, self.expects, "images"), on_fault))
        return tuple(dict.fromkeys(split for split in _SPLITS.values() if split in named))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[CaptionedImage]:
        """Yield the split's pictures in the file's order."""

        def record(image: Entry) -> CaptionedImage | None:
            return self._record(image) if _split(image) == split else None

        return each(record, entries(root, self.expects, "images"), on_fault)

    def _record(self, image: Entry) -> CaptionedImage:
        image_id, path = self.identify(image)
        return CaptionedImage(id=image_id, image=path, captions=_captions(image))


def _split(image: Entry) -> str:
    return _SPLITS[image.one_of("split", _SPLITS)]


def _captions(image: Entry) -> tuple[str, ...]:
    """Give the captions without the blanks around them; one without a word is left out."""
    raw = (sentence.text_or_empty("raw").strip() for sentence in image.entries("sentences"))
    captions = tuple(caption for caption in raw if caption)
    if not captions:
        raise image.complaint("sentences", "expected at least one caption that is not empty, got none")
    return captions


def _coco(image: Entry) -> tuple[str, str]:
    return str(image.natural("cocoid")), named_coco_image(image, "filename")


def _flickr30k(image: Entry) -> tuple[str, str]:
    image_id = flickr30k_id(image, "filename")
    return image_id, flickr30k_image(image_id)


COCO = KarpathyReader("coco/dataset_coco.json", _coco)
FLICKR30K = KarpathyReader("flickr30k/dataset_flickr30k.json", _flickr30k)
