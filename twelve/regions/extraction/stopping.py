"""Ctrl-C and SIGTERM as a wish that long work asks about, not as its sudden end."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def wish_to_stop(sentence: str) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop; the second one ends the process as usual.

    Args:
        sentence: Told on stderr when the wish is uttered.

    Yields:
        Whether it was.
    """
    wished: list[int] = []

    def wish(number: int, frame: FrameType | None) -> None:
        del frame
        wished.append(number)
        restore()
        print(sentence, file=sys.stderr, flush=True)

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    former = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(wished)
    finally:
        restore()
