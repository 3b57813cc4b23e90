"""Writing all data sets of a world."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from . import coco, flickr30k, gqa, guesswhat, nlvr2, snli_ve, vg, visual7w, vqa
from .corpus import Corpus
from .nlvr2 import Shown
from .pictures import picture_names
from .refer import REFCOCO, REFCOCO_PLUS, REFCOCOG

Write = Callable[[Path, Corpus], object]

WRITERS: Mapping[str, Write] = MappingProxyType(
    {
        "vqa-v2": vqa.write,
        "vg-qa": vg.write,
        "gqa": gqa.write,
        "coco-retrieval": coco.write,
        "flickr30k-retrieval": flickr30k.write,
        "refcoco": REFCOCO.write,
        "refcoco+": REFCOCO_PLUS.write,
        "refcocog": REFCOCOG.write,
        "visual7w": visual7w.write,
        "guesswhat": guesswhat.write,
        "snli-ve": snli_ve.write,
    }
)
"""By task; NLVR2 stands apart, for it decides which pictures its pairs show."""


def write_data_sets(root: Path, corpus: Corpus) -> Iterator[str]:
    """Write every data set but NLVR2, and yield each one's name when it is written."""
    for name, write in WRITERS.items():
        write(root, corpus)
        yield name


def write_comparisons(root: Path, corpus: Corpus) -> Shown:
    """Write NLVR2; give every picture of the world under all of its names."""
    return [*picture_names(corpus), *nlvr2.write(root, corpus)]
