"""Turns: what several processes want to do, one does while the others wait.

The kernel holds the lock, so that a process that is killed gives its turn back. The files stay: to remove one while
somebody waits for it would let two in at once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twelve.features.disk import Busy, WriterLock

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.02
"""Between two tries. A detector takes longer than the second."""


@contextmanager
def turn(path: Path, *, wait_s: float) -> Iterator[bool]:
    """Wait for a turn and hold it.

    Args:
        path: Of the lock file; made where it is missing.
        wait_s: How long at most: a process that has stopped must not stop the others.

    Yields:
        Whether the turn was had. It is not after the wait, and where no lock file can be made.
    """
    lock = _taken(path, wait_s)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _taken(path: Path, wait_s: float) -> WriterLock | None:
    deadline, pause_s = time.monotonic() + wait_s, SHORTEST_PAUSE_S
    while True:
        try:
            return WriterLock.take(path)
        except Busy:
            if time.monotonic() >= deadline:
                return None
        except OSError:
            return None
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
