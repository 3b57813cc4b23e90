"""Searching an index: every picture is scored exactly, none is passed over."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from twelve.errors import EngineFailed
from twelve.features import RegionSet
from twelve.image import ImageLimits
from twelve.index.directory import Index
from twelve.regions.extractor import RegionExtractor

SCORED_AT_ONCE = 64
"""Pictures in memory at a time: 53 MB at full size (101 x 2048 float32)."""

Score = Callable[[str, Iterable[RegionSet]], Sequence[float]]
"""How well a caption describes each picture, higher is better; one finite number a picture, in their order."""


class Retriever(Protocol):
    """What an index needs of a bundle; whoever assembles the engine provides it."""

    @property
    def extractor(self) -> RegionExtractor:
        """Give what finds regions."""
        ...

    @property
    def limits(self) -> ImageLimits:
        """Give what pictures may be."""
        ...

    def score(self, caption: str, region_sets: Iterable[RegionSet]) -> Sequence[float]:
        """See `Score`."""
        ...


@dataclass(frozen=True)
class Hit:
    """A picture that was found.

    Attributes:
        path: Of its file; the first one where several show the same picture.
        score: As the scorer gave it.
    """

    path: str
    score: float


def ignore(finished: int, total: int) -> None:
    """Show nothing."""


def search(
    index: Index, caption: str, k: int, score: Score, on_progress: Callable[[int, int], None] = ignore
) -> list[Hit]:
    """Find the pictures that a caption describes best.

    Args:
        index: Where to look.
        caption: What to look for.
        k: How many to give, at most.
        score: The retrieval head, over regions of the index's own detector.
        on_progress: Told how many pictures are scored, and of how many.

    Returns:
        The best, best first; of equal scores the first path comes first.

    Raises:
        EngineFailed: The scorer gave no finite number for a picture.
        DataError: Features are missing from the index.
    """
    hits = _hits(index, caption, score, on_progress)
    return heapq.nsmallest(k, hits, key=lambda hit: (-hit.score, hit.path))


def _hits(index: Index, caption: str, score: Score, on_progress: Callable[[int, int], None]) -> Iterator[Hit]:
    """Give every picture with its score, in the order of the disk, holding SCORED_AT_ONCE in memory."""
    pictures = index.pictures()
    refs = (ref for ref in index.features if ref in pictures)
    finished = 0
    while batch := list(islice(refs, SCORED_AT_ONCE)):
        paths = [pictures[ref] for ref in batch]
        yield from _scored(paths, score(caption, [index.features[ref] for ref in batch]))
        finished += len(batch)
        on_progress(finished, len(pictures))


def _scored(paths: Sequence[str], scores: Sequence[float]) -> Iterator[Hit]:
    if len(scores) != len(paths):
        raise EngineFailed(f"the scorer gave {len(scores)} scores for {len(paths)} pictures; it must give one each")
    for path, score in zip(paths, scores, strict=True):
        if not math.isfinite(score):
            raise EngineFailed(f"{path}: the scorer gave {score}; check the bundle with `twelve check`")
        yield Hit(path, float(score))
