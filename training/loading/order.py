"""What a round asks for: a batch of the stream as it was drawn, or one cut from several by length."""

from collections.abc import Sequence
from typing import Protocol

from training.items import Asked, TaskItems
from training.loading.gallery import seeded
from training.schedule import Rank, serials


class Order(Protocol):
    """Says what each round asks of one task; equal rounds ask equally, whatever was asked before."""

    def asked(self, number: int) -> Sequence[Asked]:
        """Give a rank's share of a round's batch."""
        ...


class AsDrawn:
    """Asks for the next items of the stream."""

    def __init__(self, source: TaskItems, batch: int, rank: Rank) -> None:
        self._source = source
        self._batch = batch
        self._rank = rank

    def asked(self, number: int) -> list[Asked]:
        """Give a rank's share of a round's batch."""
        return [self._source.streamed(serial) for serial in serials(number, self._batch, self._rank)]


class ByLength:
    """Draws some batches together, cuts them by length, and asks for the cuts in a drawn order.

    A pass over the data still shows each item once; an item comes at most `group` rounds away from its place.
    """

    def __init__(self, source: TaskItems, batch: int, rank: Rank, *, group: int) -> None:
        self._source = source
        self._batch = batch
        self._rank = rank
        self._group = group
        self._cuts: dict[int, list[list[Asked]]] = {}

    def asked(self, number: int) -> list[Asked]:
        """Give a rank's share of a round's batch."""
        group, place = divmod(number, self._group)
        if group not in self._cuts:
            self._cuts = {group: self._cut(group)}
        return self._cuts[group][place][self._rank.number :: self._rank.of]

    def _cut(self, group: int) -> list[list[Asked]]:
        source, size = self._source, self._batch
        drawn = [source.streamed(serial) for serial in serials(group, self._group * size)]
        drawn.sort(key=source.maker.length)
        cuts = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        seeded(source.seed, source.task.name, source.split, f"group {group}").shuffle(cuts)
        return cuts


def order(source: TaskItems, batch: int, rank: Rank, *, group: int) -> Order:
    """Choose an order.

    Args:
        source: Whose items.
        batch: Items of all ranks.
        rank: Whose share.
        group: Batches that are cut together; 1 leaves them as drawn.
    """
    return ByLength(source, batch, rank, group=group) if group > 1 else AsDrawn(source, batch, rank)
