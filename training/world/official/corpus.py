"""The world as the writers see it: the pictures of each source and split, and how much is to be said of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from training.world.scene import Scene, Split
from training.world.sources import Source, sources_of

SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test", "novel")

AMOUNTS: Final[Mapping[str, Mapping[Split, int]]] = {
    "tiny": {"train": 60, "val": 16, "test": 24, "novel": 16},
    "default": {"train": 44_000, "val": 1_200, "test": 2_400, "novel": 2_400},
    "large": {"train": 440_000, "val": 4_000, "test": 6_000, "novel": 4_000},
}
"""Items of each task, by profile: a few more than are needed, as balance may forbid some."""

OVERLAPPING: Final[Mapping[Split, slice]] = {"train": slice(0, None, 4), "val": slice(1, None, 16)}
"""Which test pictures train and val hold as well, as in the real data a COCO picture is in VQA's train and in RefCOCO's
testA: so that cleaning has something to remove. What it leaves is what would be there without them."""

_NONE: Final = slice(0)


@dataclass(frozen=True)
class Corpus:
    """Every scene, dealt out.

    Attributes:
        seed: Of the world; each writer derives its own random numbers from it.
        scenes: By source and split, in order of ids.
        amounts: Of items a task, by split.
    """

    seed: int
    scenes: Mapping[tuple[Source, Split], tuple[Scene, ...]]
    amounts: Mapping[Split, int]

    @classmethod
    def deal(cls, scenes: Iterable[Scene], *, seed: int, amounts: Mapping[Split, int]) -> "Corpus":
        """Deal scenes out to the sources that show them."""
        dealt: dict[tuple[Source, Split], list[Scene]] = {}
        for scene in scenes:
            for source in sources_of(scene):
                dealt.setdefault((source, scene.split), []).append(scene)
        return cls(seed, {key: tuple(listed) for key, listed in dealt.items()}, amounts)

    def of(self, source: Source, split: Split) -> tuple[Scene, ...]:
        """Give the scenes of a source and a split."""
        return self.scenes.get((source, split), ())

    def all_of(self, source: Source) -> Iterator[Scene]:
        """Give the scenes of a source, split after split."""
        for split in SPLITS:
            yield from self.of(source, split)

    def overlapping(self, source: Source, split: Split) -> tuple[Scene, ...]:
        """Give the test pictures of a source that a split holds as well; rows about them come after all its own."""
        return self.of(source, "test")[OVERLAPPING.get(split, _NONE)]

    def overlapping_amount(self, source: Source, split: Split) -> int:
        """Give the rows about those pictures: as many a picture as the split's own have."""
        own = len(self.of(source, split))
        return self.amounts[split] * len(self.overlapping(source, split)) // own if own else 0

    def rng(self, name: str, split: str = "") -> Random:
        """Give the random numbers of one writer and split, independent of all others."""
        return Random(f"{self.seed} {name} {split}")
