"""The order of steps: round robin over the tasks, and the learning rate's rise and fall.

Source: 12-in-1, section 4.2: one iteration forwards a batch of each task and updates in sequence.
"""

from collections.abc import Iterator, Sequence


def round_robin(tasks: Sequence[str], rounds: range) -> Iterator[tuple[int, str]]:
    """Yield (round, task): each task once a round, in the order given."""
    for number in rounds:
        for task in tasks:
            yield number, task


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
