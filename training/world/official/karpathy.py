"""COCO and Flickr30k captions in the files of Karpathy's split."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.world.scene import Scene
from training.world.words.captions import CAPTIONS, Caption

from .files import Json, write_json

_WORD: Final = re.compile(r"\w+")

Extras = Callable[[Scene], dict[str, Json]]


@dataclass
class KarpathyFile:
    """Collects the captions of one data set.

    Attributes:
        dataset: "coco" or "flickr30k".
        filename: Gives a picture's file name.
        extras: Gives the fields that only this data set has.
    """

    dataset: str
    filename: Callable[[Scene], str]
    extras: Extras
    images: list[dict[str, Json]] = field(default_factory=list)

    def add(self, scenes: Sequence[Scene], captions: Mapping[int, tuple[Caption, ...]]) -> None:
        """Add pictures with their captions."""
        for scene in scenes:
            self.images.append(self._image(scene, captions[scene.id]))

    def write(self, path: Path) -> None:
        """Write what was collected."""
        write_json(path, {"images": self.images, "dataset": self.dataset})

    def _image(self, scene: Scene, captions: Sequence[Caption]) -> dict[str, Json]:
        number = len(self.images)
        sentence_ids = [number * CAPTIONS + place for place in range(len(captions))]
        return {
            **self.extras(scene),
            "sentids": sentence_ids,
            "filename": self.filename(scene),
            "imgid": number,
            "split": scene.split,
            "sentences": [
                {
                    "tokens": _WORD.findall(caption.text.lower()),
                    "raw": caption.text,
                    "imgid": number,
                    "sentid": sentence_id,
                }
                for caption, sentence_id in zip(captions, sentence_ids, strict=True)
            ],
        }
