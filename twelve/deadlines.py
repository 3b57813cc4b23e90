"""Until when a request is worth working on: its own time limit, counted from when it entered the system.

Nobody waits for an answer after that, and on a full server each stage spent on it is taken from those who still wait.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from twelve.errors import DeadlineExceeded, Malformed

TIMEOUT = "x-request-timeout-ms"
"""The client's own limit; a proxy in front puts its default there, and cuts what is too long."""

MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Deadline:
    """A request's time limit.

    Attributes:
        entered_s: When the request entered the system, by `time.monotonic()`.
        allowed_ms: From then on; None = it has all the time in the world.
    """

    entered_s: float
    allowed_ms: int | None

    def check(self, before: str) -> None:
        """See that there is time left.

        Args:
            before: What comes next, for the sentence.

        Raises:
            DeadlineExceeded: There is none.
        """
        if self.left_s() <= 0:
            raise self.exceeded(before)

    def left_s(self) -> float:
        """Give the time that is left; less than none once it has passed."""
        if self.allowed_ms is None:
            return math.inf
        return self.entered_s + self.allowed_ms / 1000 - time.monotonic()

    def exceeded(self, before: str) -> DeadlineExceeded:
        """Give the error of a request whose time passed before this."""
        return DeadlineExceeded(
            f"the request's time, {self.allowed_ms} ms, passed before {before}; "
            "allow more by X-Request-Timeout-Ms, or ask again when the server has less to do"
        )


NEVER = Deadline(0.0, None)
"""Of a request that waits for ever."""


def deadline_of(headers: Mapping[str, str], entered_s: float, *, otherwise_ms: int | None) -> Deadline:
    """Read a request's time limit.

    Args:
        headers: With names in lower case.
        entered_s: When the request entered the system, by `time.monotonic()`.
        otherwise_ms: What a request has that names none, and the most that it may name; None = no limit.

    Returns:
        The limit.

    Raises:
        Malformed: The header is no number of milliseconds.
    """
    sent = headers.get(TIMEOUT)
    if sent is None:
        return Deadline(entered_s, otherwise_ms)
    if not MILLISECONDS.fullmatch(sent):
        raise Malformed(f"X-Request-Timeout-Ms: must be a whole number of milliseconds from 1, got {sent[:20]!a}")
    return Deadline(entered_s, int(sent) if otherwise_ms is None else min(int(sent), otherwise_ms))
