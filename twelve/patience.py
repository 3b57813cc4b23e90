"""How long one question may take in all: its attempts, the waits between them, and what the server is told of it."""

import random
import time
from collections.abc import Callable, Iterator

import httpx

from twelve.errors import NoWorker, QueueFull

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0
"""Before the first retry, and before any that the server did not ask for: the wait doubles each time."""

BUSY = frozenset({QueueFull.status, NoWorker.status})
"""Statuses that say: the same request may do later."""

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""Failures of the connection. A timeout of the answer is none: whoever is slow is not helped by more requests."""

SHORTEST_S = 0.001


class Patience:
    """The time of one question, which begins with it."""

    def __init__(
        self,
        timeout_s: float,
        *,
        connect_timeout_s: float,
        retries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            timeout_s: For all attempts and the waits between them.
            connect_timeout_s: For each connection.
            retries: Attempts after the first.
            clock: Gives seconds; for tests.
        """
        self.timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._waits = waits(retries)
        self._clock = clock
        self._ends_s = clock() + timeout_s

    def left_s(self) -> float:
        """Give the time that is left."""
        return max(self._ends_s - self._clock(), SHORTEST_S)

    def headers(self) -> dict[str, str]:
        """Tell the server how long its answer is of use."""
        return {"X-Request-Timeout-Ms": str(max(1, int(1000 * self.left_s())))}

    def timeout(self) -> httpx.Timeout:
        """Bound the next attempt."""
        left_s = self.left_s()
        return httpx.Timeout(left_s, connect=min(self._connect_timeout_s, left_s))

    def after(self, response: httpx.Response) -> float | None:
        """Give how long to wait before asking again; None where the response stands."""
        return self._next_s(asked_wait_s(response)) if response.status_code in BUSY else None

    def after_failure(self, error: httpx.HTTPError) -> float | None:
        """Give how long to wait before asking again; None where asking again would not help, or come too late."""
        return self._next_s(0.0) if isinstance(error, UNSENT) else None

    def _next_s(self, asked_s: float) -> float | None:
        own_s = next(self._waits, None)
        if own_s is None:
            return None
        wait_s = max(own_s, asked_s)
        return wait_s if wait_s < self.left_s() else None


def waits(retries: int) -> Iterator[float]:
    """Give the waits between attempts, in seconds: doubling, each at random between half of it and all of it."""
    for attempt in range(retries):
        yield min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


def asked_wait_s(response: httpx.Response) -> float:
    """Give the wait that a busy server asks for; 0 where it asks for none."""
    asked = response.headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdecimal() else 0.0
