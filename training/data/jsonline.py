"""COCO and Flickr30k captions in the files that 12-in-1's own code reads: one picture a line, one file a split.

Files: {coco|flickr30k}/all_data_final_{train|val_set0|test_set0}_2014.jsonline.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.data.entries import Entry, Once
from training.data.faults import OnFault, each
from training.data.files import is_file, is_there
from training.data.pictures import Identify, coco_identity, flickr30k_identity
from training.data.streams import json_lines
from twelve.tasks.records import CaptionedImage

_STEMS = {"train": "train", "val": "val_set0", "test": "test_set0"}


@dataclass(frozen=True)
class JsonlineReader:
    """Reads the files of one folder.

    Attributes:
        folder: Relative to the root.
        identify: Gives a picture's id and path.
    """

    folder: str
    identify: Identify

    @property
    def expects(self) -> str:
        """Give the files, in words."""
        return f"{self.folder}/all_data_final_{{{'|'.join(_STEMS.values())}}}_2014.jsonline"

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files that are there."""
        return tuple(name for name in map(self._file, _STEMS) if is_file(root, name))

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that have a file."""
        return tuple(split for split in _STEMS if is_there(root, self._file(split)))

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[CaptionedImage]:
        """Yield the split's pictures in the file's order."""
        record = partial(_record, self.identify, Once())
        return each(record, json_lines(root, self._file(split), on_fault), on_fault)

    def _file(self, split: str) -> str:
        return f"{self.folder}/all_data_final_{_STEMS[split]}_2014.jsonline"


def _record(identify: Identify, once: Once, line: Entry) -> CaptionedImage:
    identity = identify(line)
    captions = tuple(caption for caption in map(str.strip, line.texts("sentences")) if caption)
    if not captions:
        raise line.complaint("sentences", "expected at least one caption that is not empty, got none")
    return CaptionedImage(once.check(line, "img_path", identity.id), identity.image, captions)


COCO = JsonlineReader("coco", partial(coco_identity, name_field="img_path", number_field="id"))
FLICKR30K = JsonlineReader("flickr30k", partial(flickr30k_identity, name_field="img_path"))
