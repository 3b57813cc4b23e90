"""The pictures of a split, which of them look alike, and seeded draws among them.

Shapes: P pictures · F feature width · C pictures compared at a time.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from twelve.errors import DataError

NEAR = 20
"""Nearest pictures among which a hard negative is drawn (the published code draws among 100 of 113,000)."""

ROWS_AT_ONCE = 1024
"""Pictures whose distances to all others are held at a time: 0.5 GB with the 113,000 of COCO."""


class Means(Protocol):
    """Where the pictures lie; `training.items.PictureShelf` is one."""

    @property
    def detector_digest(self) -> str:
        """Name the detector whose features these are."""
        ...

    def key(self, image: str) -> str:
        """Give the hash by which a picture goes."""
        ...

    def mean(self, image: str) -> Tensor:
        """Give the mean of a picture's detected features, [F]."""
        ...


class Gallery:
    """The pictures of a task's split, and which of them look alike.

    Attributes:
        images: Paths, each once; two of them may show one picture.
        shelf: Where they lie.
        of: Whose pictures these are, for errors.
    """

    def __init__(self, images: Sequence[str], shelf: Means, *, of: str, nearest: "Nearest | None" = None) -> None:
        self.images = sorted(set(images))
        self.shelf = shelf
        self.of = of
        self._nearest = nearest or compared

    def key(self, image: str) -> str:
        """Give the hash by which a picture goes."""
        return self.shelf.key(image)

    @cached_property
    def different(self) -> int:
        """Count the pictures, those under two names once."""
        return len({self.key(image) for image in self.images})

    @cached_property
    def near(self) -> Mapping[str, Sequence[str]]:
        """Give each picture's nearest by mean feature (Euclidean, as the published hard negatives), nearest first."""
        return self._nearest(self)

    def means(self) -> Tensor:
        """Give each picture's mean feature, [P, F]."""
        return torch.stack([self.shelf.mean(image) for image in self.images])


Nearest = Callable[[Gallery], Mapping[str, Sequence[str]]]
"""How a gallery comes to know its nearest pictures: `compared` here and now, or read from a mined table."""


class SeededDraw:
    """Draws other pictures of a task's split: one hard negative, the rest at random. Equal seeds draw equally."""

    def __init__(self, gallery: Gallery, rng: random.Random) -> None:
        self._gallery = gallery
        self._rng = rng

    def others(self, image: str, count: int) -> Sequence[str]:
        """Draw `count` different pictures, none of them the given one, a near one first.

        Raises:
            DataError: The split has too few.
        """
        if self._gallery.different <= count:
            raise DataError(
                f"{self._gallery.of}: an item shows {count + 1} different pictures, "
                f"the split has {self._gallery.different}; add pictures to it, or leave the task out of the recipe"
            )
        chosen: list[str] = []
        taken = {self._gallery.key(image)}
        pool: Sequence[str] = self._gallery.near[image]
        while len(chosen) < count:
            other = self._rng.choice(pool)
            if self._gallery.key(other) not in taken:
                taken.add(self._gallery.key(other))
                chosen.append(other)
            pool = self._gallery.images
        return chosen

    def place(self, count: int) -> int:
        """Draw a number in [0, count)."""
        return self._rng.randrange(count)


class NotedDraw:
    """Draws nothing, and notes whether a record's item shows pictures beside its own."""

    def __init__(self) -> None:
        self.drew = False

    def others(self, image: str, count: int) -> Sequence[str]:
        """Give the picture itself, and note it."""
        self.drew = True
        return [image] * count

    def place(self, count: int) -> int:
        """Give the first place."""
        del count
        return 0


def seeded(seed: int, task: str, split: str, serial: int | str) -> random.Random:
    """Give the source of what is drawn for one item; equal arguments draw equally, on any machine."""
    return random.Random(f"{seed}/{task}/{split}/{serial}")


def compared(gallery: Gallery) -> dict[str, list[str]]:
    """Compare all pictures of a gallery in memory, and give each one's NEAR nearest."""
    means = gallery.means()
    found = (row for block in range(blocks(len(means))) for row in nearest_of(means, block, most=NEAR).tolist())
    return {image: [gallery.images[row] for row in rows] for image, rows in zip(gallery.images, found, strict=True)}


def blocks(pictures: int) -> int:
    """Count the blocks of ROWS_AT_ONCE pictures."""
    return -(-pictures // ROWS_AT_ONCE)


def nearest_of(means: Tensor, block: int, *, most: int) -> Tensor:
    """Find the pictures nearest to each of one block's.

    Args:
        means: [P, F], of all pictures.
        block: Its number, from 0.
        most: Nearest pictures wanted; fewer where there are not as many.

    Returns:
        [C, most] rows of `means`, nearest first, never a picture's own.
    """
    start = block * ROWS_AT_ONCE
    distances = torch.cdist(means[start : start + ROWS_AT_ONCE], means)  # [C, P]
    own = torch.arange(len(distances))
    distances[own, start + own] = float("inf")
    return distances.topk(min(most, len(means) - 1), largest=False).indices
