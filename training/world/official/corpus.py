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

    def rng(self, name: str, split: str = "") -> Random:
        """Give the random numbers of one writer and split, independent of all others."""
        return Random(f"{self.seed} {name} {split}")
