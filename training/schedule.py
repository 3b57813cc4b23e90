"""The order of steps: round robin over the tasks, which items of a stream each asks for, and the learning rate.

Source: 12-in-1, section 4.2: one iteration forwards a batch of each task and updates in sequence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rank:
    """One of the processes that train one model together.

    Attributes:
        number: From 0.
        of: How many there are.
    """

    number: int = 0
    of: int = 1


ALONE = Rank()


def round_robin(tasks: Sequence[str], rounds: range) -> Iterator[tuple[int, str]]:
    """Yield (round, task): each task once a round, in the order given."""
    for number in rounds:
        for task in tasks:
            yield number, task


def serials(number: int, batch: int, rank: Rank = ALONE) -> range:
    """Give a rank's share of a round's items; all ranks' shares together are the batch of a process alone.

    Args:
        number: Of the round, from 0.
        batch: Items of all ranks.
        rank: Whose share.

    Returns:
        Places in the task's endless stream.
    """
    return range(number * batch, (number + 1) * batch)[rank.number :: rank.of]


def rate(number: int, *, rounds: int, warmup: float) -> float:
    """Give the share of the peak learning rate in a round: a linear rise, then a linear fall to zero.

    Args:
        number: Of the round, from 0.
        rounds: Of the whole run.
        warmup: Share of the rounds that rise.
    """
    rising = max(1, round(warmup * rounds))
    if number < rising:
        return (number + 1) / rising
    return max(0.0, (rounds - number) / max(1, rounds - rising))
