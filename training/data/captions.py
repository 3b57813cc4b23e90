"""COCO and Flickr30k captions in either form that retrieval is trained from: Karpathy's, or 12-in-1's own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.data import jsonline, karpathy
from training.data.faults import OnFault
from training.data.jsonline import JsonlineReader
from training.data.karpathy import KarpathyReader
from twelve.tasks.records import CaptionedImage


@dataclass(frozen=True)
class CaptionReader:
    """Reads the first form that is there; both hold the same captions.

    Attributes:
        forms: In the order they are looked for.
    """

    forms: tuple[KarpathyReader | JsonlineReader, ...]

    @property
    def expects(self) -> str:
        """Give the files of every form, in words."""
        return " or ".join(form.expects for form in self.forms)

    def files(self, root: Path) -> tuple[str, ...]:
        """Give the files of the form that is read."""
        return self._form(root).files(root)

    def splits(self, root: Path, on_fault: OnFault) -> tuple[str, ...]:
        """Give the splits that the form has."""
        return self._form(root).splits(root, on_fault)

    def read(self, root: Path, split: str, on_fault: OnFault) -> Iterator[CaptionedImage]:
        """Yield the split's pictures in the file's order."""
        return self._form(root).read(root, split, on_fault)

    def _form(self, root: Path) -> KarpathyReader | JsonlineReader:
        return next((form for form in self.forms if form.files(root)), self.forms[0])


COCO = CaptionReader((karpathy.COCO, jsonline.COCO))
FLICKR30K = CaptionReader((karpathy.FLICKR30K, jsonline.FLICKR30K))
