"""Steps to batches: what each step of the schedule asks for, made in a workshop, awaited and timed.

Shapes: M items · A choices of an item · N rows · T tokens · R regions (global one first).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import NamedTuple

from torch import Tensor

from training.items import Asked, Item, ItemMaker, Padded, TaskItems, padded
from training.loading.order import Order, order
from training.loading.workshop import Workshop
from training.schedule import ALONE, Rank
from twelve.errors import ConfigInvalid
from twelve.regions.extractor import RegionSet
from twelve.tasks.base import Seen
from twelve.tasks.registry import AnyTask

Step = tuple[int, str]
"""A round and the task that has its turn."""


class Job(NamedTuple):
    """What a worker is to make a batch of.

    Attributes:
        task: Its name.
        asked: Item by item.
    """

    task: str
    asked: Sequence[Asked]


@dataclass(frozen=True)
class Loaded:
    """A batch as the model and the loss take it.

    Attributes:
        rows: Of all items, in order; an item's pictures each have their own.
        targets: [A] numbers of each item.
        seen: What each item's choices are read from: its regions' places, without their features.
    """

    rows: Padded
    targets: tuple[Tensor, ...]
    seen: tuple[Seen, ...]

    def __len__(self) -> int:
        """Count the items."""
        return len(self.targets)


@dataclass(frozen=True)
class Filled:
    """How much of padded rows is what it stands for; sums over steps.

    Attributes:
        words: Word pieces and task tokens.
        regions: Regions, global ones included.
        word_places: Of the rows as padded.
        region_places: Likewise.
    """

    words: int = 0
    regions: int = 0
    word_places: int = 0
    region_places: int = 0

    @classmethod
    def of(cls, rows: Padded) -> "Filled":
        """Count one batch."""
        return cls(
            int(rows.text_mask.sum()), int(rows.region_mask.sum()), rows.text_mask.numel(), rows.region_mask.numel()
        )

    def __add__(self, other: "Filled") -> "Filled":
        """Sum two counts."""
        return Filled(*(own + its for own, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def padding(self) -> dict[str, float]:
        """Give the shares of words' and of regions' places that hold nothing."""
        return {
            "words": 1 - self.words / max(1, self.word_places),
            "regions": 1 - self.regions / max(1, self.region_places),
        }


class BatchMaker:
    """Makes a batch of what a job asks; what a process needs to do so."""

    def __init__(self, makers: Mapping[str, ItemMaker]) -> None:
        self._makers = makers

    def __call__(self, job: Job) -> Loaded:
        """Make a batch."""
        maker = self._makers[job.task]
        return loaded(maker.task, [maker.make(asked) for asked in job.asked])


class Loader:
    """Gives the batches that a schedule asks for.

    Attributes:
        waited_s: How long the trainer waited for batches so far; all of their making where there is no worker.
    """

    def __init__(self, orders: Mapping[str, Order], workshop: Workshop, clock: Callable[[], float]) -> None:
        self._orders = orders
        self._workshop = workshop
        self._clock = clock
        self.waited_s = 0.0

    @classmethod
    def open(
        cls,
        sources: Mapping[str, TaskItems],
        batches: Mapping[str, int],
        workshop: Workshop,
        *,
        rank: Rank = ALONE,
        group: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Loader":
        """Open a loader.

        Args:
            sources: Items by task.
            batches: Items of all ranks by task.
            workshop: Entered; does the making.
            rank: Whose share of each batch.
            group: Batches of a task that are cut by length together.
            clock: In seconds.

        Returns:
            The loader.

        Raises:
            ConfigInvalid: The ranks cannot share a batch evenly.
        """
        for name, batch in batches.items():
            if batch % rank.of:
                raise ConfigInvalid(
                    f"[tasks] {name}: a batch of {batch} cannot be shared evenly by {rank.of} processes; choose a "
                    f"multiple of {rank.of}"
                )
        orders = {name: order(source, batches[name], rank, group=group) for name, source in sources.items()}
        return cls(orders, workshop, clock)

    def batches(self, steps: Iterable[Step]) -> Iterator[tuple[Step, Loaded]]:
        """Yield each step with its batch; workers look at steps before their turn."""
        due, looked_at = tee(steps)
        results = self._workshop.results(Job(name, self._orders[name].asked(number)) for number, name in looked_at)
        for step in due:
            since = self._clock()
            batch = next(results)
            self.waited_s += self._clock() - since
            yield step, batch


def loaded(task: AnyTask, items: Sequence[Item]) -> Loaded:
    """Give a batch of items.

    Args:
        task: Whose items.
        items: At least one.

    Returns:
        Rows, targets, and what choices are read from.
    """
    targets = tuple(task.target(item.labelled.target, item.seen) for item in items)
    return Loaded(padded(items), targets, tuple(_placed(item.seen) for item in items))


def _placed(seen: Seen) -> Seen:
    return replace(seen, regions=tuple(_without_features(regions) for regions in seen.regions))


def _without_features(regions: RegionSet) -> RegionSet:
    return replace(regions, features=regions.features[:, :0])  # [R, 0]
